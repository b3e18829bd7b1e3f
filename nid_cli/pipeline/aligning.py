"""``nid align``: a model permuted to match another of its group, as a state dictionary for whoever merges it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nid_cli import files
from nid_cli.errors import IntegrityError, UsageError, unknown
from nid_cli.lazy import resolve
from nid_cli.pipeline.context import Context
from nid_cli.pipeline.state_files import FORMATS, check_path, content, dictionary
from nid_cli.records.align import Aligned
from nid_cli.registry import invocations
from nid_cli.registry.opening import open_for_writing
from nid_cli.registry.selection import select_models
from nid_cli.specs import ALIGNMENTS, Selection

if TYPE_CHECKING:
    from nid_cli.nets.functional import State
    from nid_cli.nets.graph import Graph
    from nid_cli.nets.permutation import Permutation

SCHEMA = "nid.permutation/1"


@dataclass(frozen=True, kw_only=True)
class Order:
    """What is to be aligned (``models``: the first one, and the one that is permuted) and written where.

    ``epoch``: None is the last that both have.

    Raises:
        UsageError: it cannot be.
    """

    group: str
    models: tuple[int, int]
    align: str
    epoch: int | None
    out: Path
    permutation: Path | None
    learn_steps: int | None = None

    def __post_init__(self) -> None:
        known = [name for name, alignment in ALIGNMENTS.items() if alignment.function]
        if self.align not in known:
            raise unknown("alignment", self.align, known)
        if self.learn_steps is not None and "learn_steps" not in ALIGNMENTS[self.align].chosen:
            raise UsageError(f"--learn-steps belongs to the alignment learned, not to {self.align}", "--align learned")
        self.parameters()
        if self.models[0] == self.models[1]:
            raise UsageError(f"model {self.models[0]} is aligned with itself already", "name two models: --models 1,2")
        endings: tuple[tuple[str, Path | None, tuple[str, ...]], ...] = (
            ("--out", self.out, FORMATS),
            ("--permutation", self.permutation, (".json",)),
        )
        for option, path, suffixes in endings:
            if path is not None:
                check_path(option, path, suffixes)

    def parameters(self) -> Any:
        """Those of the alignment, with what was chosen.

        Raises:
            UsageError: a value that cannot be.
        """
        chosen = {} if self.learn_steps is None else {"learn_steps": self.learn_steps}
        return ALIGNMENTS[self.align].parameters_of(chosen)


def align(context: Context, order: Order) -> dict[str, Any]:
    """Writes the second model, permuted to match the first, and the permutation; returns the record.

    Raises:
        NotFoundError: no such group, model or epoch. UsageError: the group has no permutation symmetries.
        IntegrityError: a checkpoint is not what was recorded.
    """
    from nid_cli.analysis.lmc import distances, inner_product
    from nid_cli.nets.permutation import moved, permute
    from nid_cli.pipeline.analyses.lab import lab_of

    registry = open_for_writing(context.registry)
    numbers = ",".join(map(str, order.models))
    epochs = "last" if order.epoch is None else str(order.epoch)
    with registry.read() as connection:
        [chosen] = select_models(connection, Selection(group=(order.group,), models=numbers, epochs=epochs))
    group, [epoch] = chosen.group, chosen.epochs
    graph, alignment = group.graph, ALIGNMENTS[order.align]
    if graph.gated:
        raise UsageError(
            f"{group.name} cannot be aligned: its fixed gates tie neurons to their places, a permutation changes the "
            "function",
            "groups of the other symmetry types can",
        )
    models = {model.number: model for model in chosen.models}
    members = [models[number] for number in order.models]
    lab = lab_of(registry, context)
    a, b = (lab.model(group, model, epoch) for model in members)
    data = lab.data(group) if alignment.reads_data else None
    permutation: Permutation = resolve(str(alignment.function))(graph, a, b, data, order.parameters())
    aligned = permute(graph.symmetries.axes, b, permutation)
    _check(graph, b, aligned, f"{group.name}, model {order.models[1]}")
    sha256 = files.write_atomic(order.out.absolute(), content(dictionary(graph, aligned), order.out.suffix))
    record = Aligned(
        models=order.models,
        align=order.align,
        distance_before=distances(graph, a, b, {})[0],
        distance_after=distances(graph, a, aligned, {})[0],
        objective_before=inner_product(graph, a, b),
        objective_after=inner_product(graph, a, aligned),
        moved=float(moved(graph.spaces, permutation).double().mean()) if permutation else 0.0,
        path=str(order.out),
        sha256=sha256,
    )
    if (target := order.permutation) is not None:
        own = {"group": group.name, "epoch": epoch, **record.values(), "spaces": _spaces(graph, permutation)}
        inputs = [{"model": m.number, "sha256": m.checkpoints[epoch].sha256, "seeds": m.seeds} for m in members]
        origin = {"parameters": order.parameters().flat(), "inputs": inputs} | _origin(context)
        text = json.dumps({"schema": SCHEMA, **own, **origin}, allow_nan=False) + "\n"
        written = files.write_atomic(target.absolute(), text.encode())
        record = replace(record, permutation_path=str(target), permutation_sha256=written)
    return {"group": group.name, "epoch": epoch, **record.values()}


def _origin(context: Context) -> dict[str, Any]:
    return {"command": list(context.argv), "versions": invocations.versions(), "made_at": invocations.now()}


def _check(graph: Graph, before: State, after: State, name: str) -> None:
    """The permuted network must compute what it computed, whatever its inputs are."""
    from nid_cli.analysis.lmc import FunctionChanged, check_outputs
    from nid_cli.nets.example import example

    device = next(iter(before.values())).device
    [x] = example(graph.description.inputs, graph.batch(64))
    try:
        check_outputs(graph, before, after, x.to(device))
    except FunctionChanged as error:
        raise IntegrityError(f"permuting {name} changed its function: {error}", "please report this") from None


def _spaces(graph: Graph, permutation: Permutation) -> Mapping[str, Any]:
    """By label, with new[i] = old[permutation[i]]; of a space inside of another a list for each of its positions."""
    labels = {space.name: str(space.label) for space in graph.spaces}
    return {
        labels[space.name]: {
            "size": space.size,
            "depends_on": None if space.depends_on is None else labels[space.depends_on],
            "permutation": permutation[space.name].tolist(),
        }
        for space in graph.spaces
    }
