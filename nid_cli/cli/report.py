"""``nid plot report``: a page on a selection of groups."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nid_cli.cli import options, output, render
from nid_cli.cli.selectors import selecting
from nid_cli.records.figures import FigureFile
from nid_cli.specs import Selection

EXAMPLES = options.examples(
    "nid plot report --out report.html",
    "nid plot report --dataset digits --symmetry w --compute --out report.html",
)

Out = Annotated[Path, typer.Option("--out", metavar="FILE.html", help="The page to write.")]
Points = Annotated[
    int | None, typer.Option("--points", metavar="N", help="Points on each segment, as they were measured.")
]
Compute = Annotated[bool, typer.Option("--compute", help="Compute the results that are missing.")]


@selecting
def report(
    out: Out,
    chosen: Selection,
    points: Points = None,
    layers: options.LayersOption = None,
    compute: Compute = False,
    device: options.Device = "auto",
    registry: options.RegistryOption = None,
    data_dir: options.DataDir = None,
    as_json: options.Json = False,
) -> None:
    """One HTML page, complete in itself: groups, all figures, numbers, lineage, commands.

    Figures whose results are missing are named in it with the command that makes them.
    """
    from nid_cli.pipeline.figures import report as pipeline

    own = {"points": points, "layers": options.layers(layers)}
    with options.context(registry, data_dir, device) as context:
        record = pipeline.report(context, chosen, out, own, compute=compute)
    output.show(
        FigureFile,
        [record.values()],
        as_json=as_json,
        export=None,
        human=lambda: render.say(f"wrote {record.path}"),
    )
