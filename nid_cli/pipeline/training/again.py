"""Trainings of a group that is there, as its registry knows them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from nid_cli.errors import UsageError
from nid_cli.pipeline.context import Context
from nid_cli.pipeline.training.own import OwnNetwork
from nid_cli.pipeline.training.requests import Request
from nid_cli.recipes import usual_save_every
from nid_cli.registry import groups, runs
from nid_cli.registry.opening import open_for_reading
from nid_cli.registry.runs import Model
from nid_cli.specs import RunSpec


def going_on(context: Context, name: str, seeds: int | None, save_every: int | None) -> list[Request]:
    """The trainings of a group that is there, as its registry knows them: no code or file of the user's is needed.

    Args:
        seeds: how many members its run is to have; as many as it has where it is None.

    Raises:
        NotFoundError: no such group.
        UsageError: it was not trained here, or has several runs and ``seeds`` does not say of which.
    """
    registry = open_for_reading(context.registry)
    with registry.read() as connection:
        group = groups.by_name(connection, name)
        found = runs.trained_here(connection, group.id)
    if not found:
        raise UsageError(f"the models of {name} were not trained here: there is nothing to go on with")
    if seeds is not None and len(found) > 1:
        bases = ", ".join(str(spec.seed) for spec, _ in found)
        raise UsageError(f"{name} has several runs (--seed {bases})", "give their settings instead of --group")
    own = OwnNetwork(group.arch, group.architecture) if group.spec.network.graph is not None else None
    return [
        Request(spec, seeds or len(members), save_every or _spacing(spec, members), own=own) for spec, members in found
    ]


def _spacing(spec: RunSpec, members: Sequence[Model]) -> int:
    """The epochs between the checkpoints that the members of a run have; what is usual where they show none."""
    elsewhere = {spec.spawn_epoch, spec.length} - {0, None}  # kept whatever the spacing
    for model in members:
        for first, second in pairwise(sorted(model.checkpoints)):
            if not {first, second} & elsewhere:
                return second - first
        if model.status == "complete" and spec.length and not set(model.checkpoints) - {0, *elsewhere}:
            return spec.length
    return usual_save_every(spec)
