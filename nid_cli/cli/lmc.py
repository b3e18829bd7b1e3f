"""``nid lmc``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import typer

from nid_cli.analysis.parameters import LmcParameters, usual_alignments
from nid_cli.cli import options, render, summary
from nid_cli.cli.measuring import Measuring, measuring
from nid_cli.cli.selectors import selecting
from nid_cli.pipeline.choices import some_of
from nid_cli.records import Lmc, Row
from nid_cli.specs import ALIGNMENTS, Selection

USUAL = LmcParameters()

EXAMPLES = options.examples(
    "nid lmc --arch mlp --export results.json",
    "nid lmc --symmetry w --kappa 1 --epochs all --align none",
    "nid lmc --group mlp-digits-w-k1 --pairs 1-2,1-3 --points 37 --json",
    "nid lmc --align none,activation,weight --repair exact",
    "nid lmc --symmetry w --pairs epochs --epochs 0,5,30",
)


@selecting
@measuring
def lmc(
    chosen: Selection,
    pairs: options.PairsOrEpochs = "all",
    align: Annotated[
        str | None,
        typer.Option(
            metavar=",".join(ALIGNMENTS),
            help=f"Alignments of the second model before interpolation [{','.join(USUAL.align)}; of two epochs of one "
            "model, whose neurons have their places already, none].",
            autocompletion=options.several(ALIGNMENTS),
        ),
    ] = None,
    points: Annotated[int, typer.Option(metavar="N", help="Points on each segment, ends included.")] = USUAL.points,
    bn_reset: options.BnReset = False,
    repair: options.Repair = None,
    *,
    how: Measuring,
) -> None:
    """Measure linear mode connectivity: loss and accuracy between models, with and without alignment."""
    chosen_align = usual_alignments(pairs) if align is None else tuple(some_of("alignment", align, ALIGNMENTS))
    parameters = LmcParameters(align=chosen_align, points=points, bn_reset=bn_reset, repair=repair)
    how.run("lmc", parameters, _table, selection=chosen, pairs=pairs)


def _table(records: Sequence[Row]) -> None:
    """One line for each group, epoch (or two of them) and alignment."""
    along = any(r["epoch_a"] is not None for r in records)
    keys = ("group", *(("epoch_a",) if along else ()), "epoch", "align")
    shown = ("train_loss_barrier", "train_error_barrier", "test_error_barrier", "train_accuracy_mid")
    if along:
        shown = ("train_greatest_rise", "test_greatest_rise", "train_loss_barrier", "train_error_barrier")
    rows: list[tuple[Any, ...]] = []
    for (*cell, reset, repair), own in summary.cells(records, *keys, "bn_reset", "repair").items():
        cell[-1] += ", bn reset" if reset else f", {repair} repair" if repair else ""
        measured = [r for r in own if r["status"] == "ok"]
        if measured:
            rows.append((*cell, len(measured), *(summary.spread(measured, name) for name in shown)))
        else:
            rows.append((*cell, len(own), "not applicable", *(None for _ in shown[1:])))
    render.table((*keys, "models" if along else "pairs", *summary.headings(Lmc, *shown)), rows)
