"""A toy of each kind that can be added: all that an addition takes is here.

:func:`add` enters them into the tables; nothing else of the program is touched. ``python -m tests.toys.nid`` is ``nid``
with the toys.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from nid_cli.analysis.parameters import Key, Parameters
from nid_cli.cli.commands import COMMANDS, MEASURE, Entry
from nid_cli.data.catalog import CATALOG, DatasetEntry
from nid_cli.errors import UsageError
from nid_cli.nets.graph import Graph
from nid_cli.pipeline.analyses.catalog import ANALYSES, Analysis
from nid_cli.pipeline.figures.table import FIGURES, FigureEntry
from nid_cli.records.base import MODEL, Record, column
from nid_cli.specs import ALIGNMENTS, SYMMETRIES, Alignment, Canonical, Selection, SymmetryType
from nid_cli.specs.canonical import later


def add() -> None:
    """Enters each toy into its table."""
    SYMMETRIES["toy"] = SymmetryType(name="toy", rule="tests.toys.rule:RULE", settings=("kappa",))
    CATALOG["toy"] = DatasetEntry(
        name="toy",
        description="noise around the corners of a cube",
        loader="tests.toys:load",
        shape=lambda parameters: (6,),
        outputs=lambda parameters: 3,
        parameters={"spread": 0.5},
    )
    ALIGNMENTS["toy"] = Alignment(
        name="toy", label="turned round", function="tests.toys:turn_round", parameters=Turn(), reference="nobody"
    )
    ANALYSES["toy"] = Analysis(
        name="toy", command="toy", parameters=ToyParameters, records=(Toy,), scope="model", compute="tests.toys:compute"
    )
    COMMANDS["toy"] = Entry(module="tests.toys.command", panel=MEASURE, summary="Measure the size of layers.")
    FIGURES["toy"] = FigureEntry(
        description="sizes of layers",
        needs=("nid toy",),
        gather="tests.toys:gather",
        options={"power": 2, "word": None, "sizes": (0.0, 1e9)},
    )
    # As the file nid_cli/plots/toy.py would be.
    figure: Any = ModuleType("nid_cli.plots.toy")
    figure.draw, figure.table = draw, table
    sys.modules[figure.__name__] = figure


def load(parameters: Mapping[str, int | float], folder: Path) -> Any:
    """The data set: 240 samples of six numbers in three classes."""
    import torch

    from nid_cli.data.tensors import RawData, Split

    generator = torch.Generator().manual_seed(0)
    targets = torch.arange(240) % 3
    corners = torch.eye(6)[targets]
    inputs = corners + float(parameters["spread"]) * torch.randn(240, 6, generator=generator)
    return RawData(Split(inputs[:180], targets[:180]), Split(inputs[180:], targets[180:]), generator=1)


@dataclass(frozen=True, kw_only=True)
class Turn(Canonical):
    """By how many places the order of the neurons is turned."""

    places: int = later(1)


def turn_round(graph: Graph, a: Any, b: Any, data: Any, parameters: Turn) -> Any:
    """The alignment: every hidden layer's neurons, moved on by some places."""
    import torch

    return {space.name: torch.arange(space.size).roll(parameters.places) for space in graph.spaces}


@dataclass(frozen=True, kw_only=True)
class ToyParameters(Parameters):
    """The power to which weights are raised."""

    power: int = 2

    def __post_init__(self) -> None:
        if self.power < 1:
            raise UsageError(f"power must be at least 1, not {self.power}")

    def of_each(self, graph: Graph) -> Iterator[Key]:
        """A result for each weighted layer."""
        for op in graph.weighted:
            yield {"layer": op.name, "power": self.power}


@dataclass(frozen=True, kw_only=True)
class Toy(Record):
    """The size of one layer of one model."""

    schema = "nid.toy/1"
    about = MODEL

    layer: str = column("The layer")
    size: float = column("Sum of the weights' magnitudes, each raised to the power")
    rows: Any = column("The same by neuron", large=True)


def compute(lab: Any, missing: Sequence[Any], parameters: Parameters) -> Iterator[tuple[Any, Toy]]:
    """The analysis."""
    for key in missing:
        group, epoch = key.of_group
        lab.data(group)
        weight = lab.model(group, key.models[0], epoch)[f"{key.parameters['layer']}.weight"]
        rows = weight.abs().double().pow(key.parameters["power"]).sum(1)
        yield key, Toy(layer=key.parameters["layer"], size=float(rows.sum()), rows=rows.numpy())


def gather(context: Any, selection: Selection, options: Mapping[str, Any], compute: bool) -> Any:
    """The records of the figure."""
    from nid_cli.pipeline.analyses.requests import Request
    from nid_cli.pipeline.figures.recorded import recorded

    parameters = ToyParameters(power=options["power"])
    [records] = recorded(
        context, [Request(analysis="toy", parameters=parameters, selection=selection)], compute=compute
    )
    return records, {"sizes": options["sizes"]}


def table(records: Sequence[Mapping[str, Any]], sizes: tuple[float, float]) -> list[dict[str, Any]]:
    """What the figure shows: sizes between two bounds."""
    low, high = sizes
    shown = [record for record in records if low <= record["size"] <= high]
    return [{name: record[name] for name in ("group", "model", "layer", "size")} for record in shown]


def draw(records: Sequence[Mapping[str, Any]], sizes: tuple[float, float], columns: int | None = None) -> Any:
    """The figure: a line for each group."""
    from nid_cli.plots import style
    from nid_cli.plots.rows import cells

    labels = style.group_labels(records)
    with style.styled():
        figure = style.new_figure(columns or 1, 2)
        axis = figure.subplots()
        for (group,), own in cells(records, "group").items():
            axis.plot([record["size"] for record in own], label=labels[group], **style.look(own[0]))
        style.legend(figure, style.handles_of([axis]))
    return figure
