"""``nid symmetries``: the permutation spaces of a network of the user's code, or of a group's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from nid_cli.data.catalog import is_data_file, measures_of, resolve_parameters
from nid_cli.errors import NotFoundError, UsageError
from nid_cli.nets import Graph
from nid_cli.pipeline.context import Context
from nid_cli.pipeline.importing.networks import Symmetric, symmetries_of, take_in
from nid_cli.records.symmetries import PermutationPlaces
from nid_cli.registry import groups, runs
from nid_cli.registry.groups import Group
from nid_cli.registry.opening import open_for_reading
from nid_cli.specs import DataSpec, InputText, parse_input

if TYPE_CHECKING:
    from torch import Tensor


def of_model(
    context: Context,
    reference: str,
    model_args: Mapping[str, Any],
    given: str | None,
    dataset: str | None,
    data: Mapping[str, object],
) -> Symmetric:
    """Of a module of the user's code, which reads ``given``, or a sample of the data set.

    Raises:
        NotFoundError, UsageError: the module cannot be taken in, or what it reads is not said.
    """
    if (given is None) == (dataset is None):
        raise UsageError(
            "it must be said what the network reads, once", "--input 3x64x64, or --dataset whose samples it reads"
        )
    read = parse_input(given) if given is not None else _sample(str(dataset), data)
    return take_in(reference, model_args, read, context.say).symmetric


def _sample(dataset: str, data: Mapping[str, object]) -> InputText:
    if is_data_file(dataset):
        from pathlib import Path

        from nid_cli.data.file import read

        needed = measures_of(read(Path(dataset), data).spec)
    else:
        needed = measures_of(DataSpec(name=dataset, parameters=resolve_parameters(dataset, data)))
    return InputText(needed.shape, needed.vocabulary)


def of_group(context: Context, name: str) -> Symmetric:
    """Of a group's network, native or taken in; without the user's code.

    Raises:
        NotFoundError: no such group. IntegrityError: its description must not run.
    """
    from nid_cli.nets.bounds import check

    registry = open_for_reading(context.registry)
    with registry.read() as connection:
        group = groups.by_name(connection, name)
        members = runs.models_of(connection, group_id=group.id)
    check(group.graph.description)
    return symmetries_of(group.graph, _state(registry, context, group, members))


def _state(registry: Any, context: Context, group: Group, members: list[runs.Model]) -> Mapping[str, Tensor]:
    """The tensors of a group's first model: where its constants and gates are."""
    from nid_cli.pipeline.analyses.lab import lab_of

    for model in members:
        for epoch in model.checkpoints:
            state = lab_of(registry, context).model(group, model, epoch)
            return {name: tensor.cpu() for name, tensor in state.items()}
    raise NotFoundError(f"{group.name} has no checkpoint yet", "finish its training")


def records(graph: Graph) -> list[PermutationPlaces]:
    """The spaces in the order in which the network comes upon them."""
    labels = {space.name: space.label for space in graph.spaces}
    places = {space.name: space.places for space in graph.symmetries.spaces}
    return [
        PermutationPlaces(
            label=space.label,
            size=space.size,
            depends_on=labels[space.depends_on] if space.depends_on is not None else None,
            places=[list(place) for place in places[space.name]],
        )
        for space in graph.spaces
    ]


def summary(found: Symmetric) -> dict[str, Any]:
    """What stands beside the records."""
    return {
        "spaces": len(found.graph.spaces),
        "parameters": found.graph.parameter_count,
        "moved": found.moved,
        "error": found.error,
        "pinned": [{"reason": reason, "count": count} for reason, count in found.pinned],
        "seconds": found.seconds,
    }
