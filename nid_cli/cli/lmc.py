"""``nid lmc``."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean, stdev
from typing import Annotated, Any

import typer

from nid_cli.analysis.parameters import LmcParameters
from nid_cli.cli import options, output, render
from nid_cli.cli.selectors import selecting
from nid_cli.pipeline.analyses.requests import Request
from nid_cli.pipeline.analyses.run import run
from nid_cli.pipeline.choices import some_of
from nid_cli.registry.selection import Selection
from nid_cli.specs import ALIGNMENTS

USUAL = LmcParameters()

EXAMPLES = options.examples(
    "nid lmc --arch mlp --export results.json",
    "nid lmc --symmetry w --kappa 1 --epochs all --align none",
    "nid lmc --group mlp-digits-w-k1 --pairs 1-2,1-3 --points 37 --json",
)


@selecting
def lmc(
    chosen: Selection,
    pairs: options.Pairs = "all",
    align: Annotated[
        str, typer.Option(metavar=",".join(ALIGNMENTS), help="Alignments of the second model before interpolation.")
    ] = ",".join(USUAL.align),
    points: Annotated[int, typer.Option(metavar="N", help="Points on each segment, ends included.")] = USUAL.points,
    bn_reset: options.BnReset = False,
    force: options.Force = False,
    device: options.Device = "auto",
    registry: options.RegistryOption = None,
    data_dir: options.DataDir = None,
    as_json: options.Json = False,
    export: options.Export = None,
) -> None:
    """Measure linear mode connectivity: loss and accuracy between models, with and without alignment."""
    output.check(export)
    parameters = LmcParameters(align=tuple(some_of("alignment", align, ALIGNMENTS)), points=points, bn_reset=bn_reset)
    request = Request(analysis="lmc", parameters=parameters, selection=chosen, pairs=pairs)
    with options.context(registry, data_dir, device) as context:
        records = run(context, request, force=force)
    output.show("nid.lmc/1", records, as_json=as_json, export=export, human=lambda: _table(records))


def _spread(values: Sequence[float]) -> str:
    """Mean and standard deviation, as ``12.30 ± 0.45``."""
    return f"{fmean(values):.2f}" + (f" ± {stdev(values):.2f}" if len(values) > 1 else "")


def _table(records: Sequence[dict[str, Any]]) -> None:
    """One line for each group, epoch and alignment."""
    cells: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for record in records:
        align = record["align"] + (", bn reset" if record.get("bn_reset") else "")
        cells.setdefault((record["group"], record["epoch"], align), []).append(record)
    columns = (
        "group",
        "epoch",
        "align",
        "pairs",
        "train loss barrier",
        "train error barrier (pp)",
        "test error barrier (pp)",
    )
    rows = []
    for (group, epoch, align), own in cells.items():
        ok = [r for r in own if r["status"] == "ok"]
        if not ok:
            rows.append((group, epoch, align, len(own), "not applicable", None, None, None))
            continue
        measured = [[r[key] for r in ok] for key in ("train_loss_barrier", "train_error_barrier", "test_error_barrier")]
        middle = [(r["train_accuracy"][0] + r["train_accuracy"][-1]) / 2 - r["train_error_barrier_mid"] for r in ok]
        rows.append((group, epoch, align, len(ok), *(_spread(v) for v in measured), _spread(middle)))
    render.table((*columns, "train accuracy at 1/2 (%)"), rows)
