"""``nid ntk``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import typer

from nid_cli.analysis.parameters import KernelParameters, NtkParameters
from nid_cli.cli import options, render, summary
from nid_cli.cli.measuring import Measuring, measuring
from nid_cli.cli.selectors import selecting
from nid_cli.pipeline.choices import one_of
from nid_cli.records import Ntk, NtkPair, Record, Row
from nid_cli.specs import SPLITS, Selection

USUAL = NtkParameters()
EXAMPLES = options.examples(
    "nid ntk --symmetry w --epochs all",
    "nid ntk --group mlp-digits-w-k1 --samples 200 --split test --json",
    "nid ntk --dataset digits --pairs --export kernels.csv",
)


@selecting
@measuring
def ntk(
    chosen: Selection,
    samples: Annotated[
        int, typer.Option(metavar="N", help="Samples of the kernel, of each class equally many.")
    ] = USUAL.samples,
    split: Annotated[
        str, typer.Option(metavar="|".join(SPLITS), help="Which split.", autocompletion=options.among(SPLITS))
    ] = USUAL.split,
    pairs: Annotated[
        str | None,
        typer.Option(
            "--pairs",
            metavar="all|disjoint|1-2,3-4",
            help="Compare the kernels of these pairs of models, instead of measuring models; alone: all.",
            autocompletion=options.among(("all", "disjoint")),
        ),
    ] = None,
    *,
    how: Measuring,
) -> None:
    """Measure tangent kernels: their spectrum, how far they moved, and how linear training was."""
    split = one_of("split", split, SPLITS)
    if pairs is None:
        how.run("ntk", NtkParameters(samples=samples, split=split), _table, selection=chosen)
    else:
        how.run("ntk-pairs", KernelParameters(samples=samples, split=split), _pair_table, selection=chosen, pairs=pairs)


def _table(records: Sequence[Row]) -> None:
    """One line for each group and epoch: means over models."""
    shown = ("trace", "effective_rank", "init_cka", "init_change", "linear_relative_error", "linear_agreement")
    _means(records, Ntk, "models", *shown)


def _pair_table(records: Sequence[Row]) -> None:
    """One line for each group and epoch: means over pairs."""
    _means(records, NtkPair, "pairs", "cka", "cosine", "change")


def _means(records: Sequence[Row], kind: type[Record], members: str, *shown: str) -> None:
    rows: list[tuple[Any, ...]] = []
    for cell, own in summary.cells(records, "group", "epoch").items():
        measured = [r for r in own if r["status"] == "ok"]
        means = [summary.mean(own, name) for name in shown]
        rows.append((*cell, len(own), *(means if measured else ("not applicable", *means[1:]))))
    render.table(("group", "epoch", members, *summary.headings(kind, *shown)), rows)
