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
# What a line says of all hidden layers at 1/2, with ``--anatomy``: the one that is worst off.
WORST = {
    "feature_connectivity_mid": (max, "worst feature connectivity at 1/2"),
    "variance_ratio_mid": (min, "least variance ratio at 1/2"),
}

EXAMPLES = options.examples(
    "nid lmc --arch mlp --export results.json",
    "nid lmc --symmetry w --kappa 1 --epochs all --align none",
    "nid lmc --group mlp-digits-w-k1 --pairs 1-2,1-3 --points 37 --json",
    "nid lmc --align none,activation,weight --repair exact",
    "nid lmc --symmetry w --pairs epochs --epochs 0,5,30",
    "nid lmc --symmetry standard --symmetry w --anatomy",
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
    learn_steps: options.LearnSteps = USUAL.learn_steps,
    repair: options.Repair = None,
    anatomy: options.Anatomy = False,
    per_sample: Annotated[
        bool, typer.Option("--per-sample", help="With --anatomy: gain and cost of each sample too, for exports.")
    ] = False,
    *,
    how: Measuring,
) -> None:
    """Measure linear mode connectivity: loss and accuracy between models, with and without alignment."""
    chosen_align = usual_alignments(pairs) if align is None else tuple(some_of("alignment", align, ALIGNMENTS))
    variant: dict[str, Any] = {"bn_reset": bn_reset, "repair": repair, "anatomy": anatomy, "per_sample": per_sample}
    parameters = LmcParameters(align=chosen_align, points=points, learn_steps=learn_steps, **variant)
    how.run("lmc", parameters, _table, matrices=per_sample and how.in_full, selection=chosen, pairs=pairs)


def _table(records: Sequence[Row]) -> None:
    """One line for each group, epoch (or two of them) and alignment."""
    along = any(r["epoch_a"] is not None for r in records)
    keys = ("group", *(("epoch_a",) if along else ()), "epoch", "align")
    shown: tuple[str, ...]
    shown = ("train_loss_barrier", "train_error_barrier", "test_error_barrier", "train_accuracy_mid")
    if along:
        shown = ("train_greatest_rise", "test_greatest_rise", "train_loss_barrier", "train_error_barrier")
    worst = WORST if any(r["anatomy"] for r in records) else {}
    if worst:
        shown = ("train_loss_barrier", "train_calibrated_loss_barrier")
    rows: list[tuple[Any, ...]] = []
    for (*cell, reset, repair), own in summary.cells(records, *keys, "bn_reset", "repair").items():
        cell[-1] += ", bn reset" if reset else f", {repair} repair" if repair else ""
        measured = [r for r in own if r["status"] == "ok"]
        if measured:
            layers = (_worst(measured, name) for name in worst)
            rows.append((*cell, len(measured), *(summary.spread(measured, name) for name in shown), *layers))
        else:
            rows.append((*cell, len(own), "not applicable", *(None for _ in (*shown[1:], *worst))))
    headings = (*summary.headings(Lmc, *shown), *(heading for _, heading in worst.values()))
    render.table((*keys, "models" if along else "pairs", *headings), rows)


def _worst(records: Sequence[Row], name: str) -> str | None:
    """Mean and standard deviation, over the records, of the worst of a value that each layer has."""
    pick, _ = WORST[name]
    found = [{name: pick(known)} for r in records if (known := [v for v in r[name] if v is not None])]
    return summary.spread(found, name) if found else None
