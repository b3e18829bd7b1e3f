"""``nid cost``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import typer

from nid_cli.analysis.catalog import METHODS, SOLVERS
from nid_cli.analysis.parameters import CostParameters
from nid_cli.cli import options, render, summary
from nid_cli.cli.measuring import Measuring, measuring
from nid_cli.cli.selectors import selecting
from nid_cli.errors import UsageError
from nid_cli.records import MahalanobisCost, RidgeCost, Row
from nid_cli.specs import Selection

USUAL = CostParameters()
EXAMPLES = options.examples(
    "nid cost --symmetry w",
    "nid cost --dataset mnist --explained-variance 0.95 --export cost.parquet",
    "nid cost --method ridge --betas .01 --neurons 8 --layers 0 --json",
)


@selecting
@measuring
def cost(
    chosen: Selection,
    method: Annotated[
        str, typer.Option(metavar="|".join(METHODS), help="Which estimate.", autocompletion=options.among(METHODS))
    ] = USUAL.method,
    explained_variance: options.ExplainedVariance = USUAL.explained_variance,
    layers: options.LayersOption = None,
    betas: Annotated[str | None, typer.Option(metavar="B[,B..]", help="Ridge: temperatures [.001,.01,.1,1].")] = None,
    neurons: Annotated[
        int | None, typer.Option(metavar="N", help="Ridge: all ordered pairs of the first N neurons [16].")
    ] = None,
    solver: Annotated[
        str | None,
        typer.Option(metavar="|".join(SOLVERS), help="Ridge: solver [lbfgs].", autocompletion=options.among(SOLVERS)),
    ] = None,
    iterations: Annotated[int | None, typer.Option(metavar="N", help="Ridge: at most so many.")] = None,
    subsample: Annotated[
        int | None,
        typer.Option(metavar="N", help="Ridge: so many validation samples, or patches [20000 of a convolution]."),
    ] = None,
    *,
    how: Measuring,
) -> None:
    """Estimate what it costs a neuron to realize another's function, and two neurons to swap theirs."""
    given = {
        "betas": tuple(options.parse_numbers(betas, "betas")) if betas is not None else None,
        "neurons": neurons,
        "solver": solver,
        "iterations": iterations,
        "subsample": subsample,
    }
    own: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    if own and method != "ridge":
        raise UsageError(f"--{next(iter(own))} goes with --method ridge")
    parameters = CostParameters(
        method=method, explained_variance=explained_variance, layers=options.layers(layers), **own
    )
    kind = RidgeCost if method == "ridge" else MahalanobisCost
    how.run("cost", parameters, _table, kind=kind, matrices=how.in_full, selection=chosen)


def _table(records: Sequence[Row]) -> None:
    """One line for each group, epoch, layer (and beta): medians over pairs of neurons, means over models."""
    keys = ("group", "epoch", "method", "layer", "beta")
    medians = ("cost_squared_median", "swap_squared_median", "residual_median", "rank_correlation")
    rows = [
        (*cell, len(own), own[0]["neurons"], own[0]["subspace_dimension"], *(summary.mean(own, m) for m in medians))
        for cell, own in summary.cells(records, *keys).items()
    ]
    names = ("median cost²", "median swap cost²", "median residual", "rank correlation")
    render.table((*keys, "models", "neurons", "k", *names), rows)
