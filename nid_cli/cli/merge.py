"""``nid merge``."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from nid_cli.analysis.parameters import MergeParameters
from nid_cli.cli import options, render, summary
from nid_cli.cli.measuring import Measuring, measuring
from nid_cli.cli.selectors import selecting
from nid_cli.pipeline import merging
from nid_cli.pipeline.choices import some_of
from nid_cli.records import Merged, Row
from nid_cli.specs import MERGES, Selection

USUAL = MergeParameters()

EXAMPLES = options.examples(
    "nid merge --dataset digits --symmetry standard --symmetry w",
    "nid merge --group mlp-digits-w-k1 --models 1-4 --align none,cycle --export merge.json",
    "nid merge --arch mlp --models 1-8 --repair exact",
    "nid merge --group mlp-digits-standard --align cycle --out merged.safetensors",
)


@selecting
@measuring
def merge(
    chosen: Selection,
    align: Annotated[
        str,
        typer.Option(
            metavar=",".join(MERGES),
            help="How the models are brought into one frame before their weights are averaged.",
            autocompletion=options.several(MERGES),
        ),
    ] = ",".join(USUAL.align),
    bn_reset: options.BnReset = False,
    repair: options.Repair = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Write the merge of one group, epoch and alignment: .safetensors, .pt or .pth."
        ),
    ] = None,
    *,
    how: Measuring,
) -> None:
    """Merge many models into one, with and without alignment, and measure it beside its parts.

    Each selected group is merged on its own: all of its models, or those that --models chooses.
    """
    parameters = MergeParameters(align=tuple(some_of("alignment", align, MERGES)), bn_reset=bn_reset, repair=repair)
    around = None if out is None else partial(merging.writing, out=out)
    how.run("merge", parameters, _table, selection=chosen, around=around)


def _table(records: Sequence[Row]) -> None:
    """One line for each group, epoch and alignment: the merge beside its parts and their ensemble."""
    shown = ("train_accuracy", "test_accuracy", "test_parts_accuracy", "test_best_accuracy", "test_ensemble_accuracy")
    rows: list[tuple[Any, ...]] = []
    for r in records:
        align = r["align"] + (", bn reset" if r["bn_reset"] else f", {r['repair']} repair" if r["repair"] else "")
        about = (r["group"], r["epoch"], len(r["models"]), align)
        if r["status"] == "ok":
            rows.append((*about, *(r[name] for name in shown), r["objective"], r["pairwise_cycle_error"]))
        else:
            rows.append((*about, "not applicable", *(None for _ in shown[1:]), None, None))
    headings = summary.headings(Merged, *shown, "objective", "pairwise_cycle_error")
    render.table(("group", "epoch", "models", "align", *headings), rows)
