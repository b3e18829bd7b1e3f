"""``nid coherence`` and ``nid coherence synthetic``."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean
from typing import Annotated

import typer

from nid_cli.analysis.parameters import CoherenceParameters
from nid_cli.analysis.synthetic_settings import SyntheticSettings
from nid_cli.cli import options, render, summary
from nid_cli.cli.commands import COMMANDS, App, CommandGroup
from nid_cli.cli.measuring import Measuring, measuring, measuring_alone
from nid_cli.cli.selectors import selecting
from nid_cli.errors import UsageError
from nid_cli.records import Coherence, Row, Synthetic
from nid_cli.specs import Selection

app = App(
    cls=CommandGroup,
    help=COMMANDS["coherence"].summary,
    rich_markup_mode=None,
    invoke_without_command=True,
)
USUAL = CoherenceParameters()
PAPER = SyntheticSettings()
EXAMPLES = options.examples(
    "nid coherence --symmetry w",
    "nid coherence --dataset mnist --epochs all --export coherence.parquet",
    "nid coherence synthetic --export synthetic.csv",
)


@app.callback(epilog=EXAMPLES)
@selecting
@measuring
def coherence(
    typer_context: typer.Context,
    chosen: Selection,
    explained_variance: options.ExplainedVariance = USUAL.explained_variance,
    layers: options.LayersOption = None,
    *,
    how: Measuring,
) -> None:
    """Measure how coherent each layer's principal subspace is, and how anisotropic the masks are on it."""
    if typer_context.invoked_subcommand is not None:
        if (chosen, how, explained_variance, layers) != (Selection(), Measuring(), USUAL.explained_variance, None):
            raise UsageError("options of nid coherence synthetic belong behind the word synthetic")
        return
    parameters = CoherenceParameters(explained_variance=explained_variance, layers=options.layers(layers))
    how.run("coherence", parameters, _table, selection=chosen)


def _table(records: Sequence[Row]) -> None:
    """One line for each group, epoch and layer: means over models."""
    keys = ("group", "epoch", "layer")
    rows = [
        (
            *cell,
            len(own),
            summary.mean(own, "subspace_dimension"),
            own[0]["full_dimension"],
            summary.mean(own, "coherence"),
            summary.mean(own, "anisotropy_mean"),
            fmean(r["anisotropy_bounds"]["0.05"] for r in own),
        )
        for cell, own in summary.cells(records, *keys).items()
    ]
    names = summary.headings(Coherence, "subspace_dimension", "full_dimension", "coherence", "anisotropy_mean")
    render.table((*keys, "models", *names, "its bound (95 %)"), rows)


@app.command(
    epilog=options.examples(
        "nid coherence synthetic",
        "nid coherence synthetic --outer-seeds 1 --num-pairs 2 --json",
    )
)
@measuring_alone
def synthetic(
    families: Annotated[
        str,
        typer.Option(
            metavar=",".join(PAPER.families),
            help="How the inputs are embedded.",
            autocompletion=options.several(PAPER.families),
        ),
    ] = ",".join(PAPER.families),
    copies: Annotated[int, typer.Option(metavar="N", help="Copies of the inputs; 1..N of them active.")] = PAPER.copies,
    width: Annotated[int, typer.Option(metavar="N", help="Hidden neurons.")] = PAPER.width,
    density: Annotated[float, typer.Option(metavar="P", help="Probability that a weight is trained.")] = PAPER.density,
    outer_seeds: Annotated[int, typer.Option(metavar="N", help="Draws of mask, data and frame.")] = PAPER.outer_seeds,
    num_pairs: Annotated[int, typer.Option(metavar="N", help="Pairs of models for each draw.")] = PAPER.num_pairs,
    epochs: Annotated[int, typer.Option(metavar="N", help="Epochs.")] = PAPER.epochs,
    points: Annotated[int, typer.Option(metavar="N", help="Points on each segment.")] = PAPER.points,
    axis_aligned_endpoint: Annotated[
        bool, typer.Option("--axis-aligned-endpoint", help="One active copy of a random frame stays on the axes.")
    ] = False,
    *,
    how: Measuring,
) -> None:
    """Train pairs of masked networks on inputs of chosen coherence, all at once, and measure their barriers."""
    settings = SyntheticSettings(
        families=tuple(part.strip() for part in families.split(",")),
        copies=copies,
        width=width,
        density=density,
        outer_seeds=outer_seeds,
        num_pairs=num_pairs,
        epochs=epochs,
        points=points,
        axis_aligned_endpoint=axis_aligned_endpoint,
    )
    how.run("synthetic", settings, _synthetic_table)


def _synthetic_table(records: Sequence[Row]) -> None:
    """One line for each family and number of active copies: mean and sd over seeds and pairs."""
    keys, barriers = ("family", "active_copies", "coherence"), ("barrier_mid", "barrier_peak")
    rows = [
        (*cell, len(own), *(f(own, name) for name in barriers for f in (summary.mean, summary.deviation)))
        for cell, own in summary.cells(records, *keys).items()
    ]
    middle, peak = summary.headings(Synthetic, *barriers)
    render.table((*summary.headings(Synthetic, *keys), "pairs", middle, "sd", peak, "sd of peak"), rows)
