"""``nid similarity``."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean
from typing import Annotated, Any

import typer

from nid_cli.analysis.catalog import SINCE
from nid_cli.analysis.parameters import SimilarityParameters
from nid_cli.cli import options, render, summary
from nid_cli.cli.measuring import Measuring, measuring
from nid_cli.cli.selectors import selecting
from nid_cli.nets.graph import SITES
from nid_cli.pipeline.choices import one_of, some_of
from nid_cli.records import Row, Similarity
from nid_cli.specs import ALIGNMENTS, Selection

USUAL = SimilarityParameters()

EXAMPLES = options.examples(
    "nid similarity --symmetry w",
    "nid similarity --dataset mnist --pairs disjoint --at post_linear --export similarity.json",
    "nid similarity --group mlp-digits-w-k1 --epochs all --since previous --align none",
)


@selecting
@measuring
def similarity(
    chosen: Selection,
    pairs: options.Pairs = "all",
    align: Annotated[
        str,
        typer.Option(
            metavar=",".join(ALIGNMENTS),
            help="Alignments of the second model, which change the update cosines.",
            autocompletion=options.several(ALIGNMENTS),
        ),
    ] = ",".join(USUAL.align),
    at: Annotated[
        str,
        typer.Option(
            metavar=",".join(SITES),
            help="Where neurons are recorded; a layer that is not is at its last point.",
            autocompletion=options.several(SITES),
        ),
    ] = ",".join(USUAL.at),
    since: Annotated[
        str,
        typer.Option(
            metavar="|".join(SINCE),
            help="What updates count from: epoch 0, or the saved epoch before.",
            autocompletion=options.among(SINCE),
        ),
    ] = USUAL.since,
    learn_steps: options.LearnSteps = USUAL.learn_steps,
    *,
    how: Measuring,
) -> None:
    """Measure how similar two models are: their predictions, their layers (CKA), and what training changed."""
    parameters = SimilarityParameters(
        align=tuple(some_of("alignment", align, ALIGNMENTS)),
        at=tuple(some_of("recording point", at, SITES)),
        since=one_of("start of updates", since, SINCE),
        learn_steps=learn_steps,
    )
    how.run("similarity", parameters, _table, selection=chosen, pairs=pairs)


def _table(records: Sequence[Row]) -> None:
    """One line for each group, epoch, site and alignment: means over pairs, and of CKA over layers too."""
    several = len({r["at"] for r in records}) > 1
    keys = ("group", "epoch", *(("at",) if several else ()), "align")
    shown = ("test_agreement", "test_error_overlap", "test_jensen_shannon", "update_cosine")
    rows: list[tuple[Any, ...]] = []
    for cell, own in summary.cells(records, *keys).items():
        measured = [r for r in own if r["status"] == "ok"]
        if measured:
            values = [summary.mean(measured, name) for name in shown]
            cka = [value for r in measured for value in r["cka"] if value is not None]
            rows.append((*cell, len(own), *values[:3], fmean(cka) if cka else None, values[3]))
        else:
            rows.append((*cell, len(own), "not applicable", *(None for _ in shown)))
    headings = summary.headings(Similarity, *shown)
    render.table((*keys, "pairs", *headings[:3], "mean CKA", headings[3]), rows)
