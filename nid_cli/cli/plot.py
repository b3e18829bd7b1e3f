"""``nid plot``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nid_cli.cli import options, output, render
from nid_cli.errors import unknown
from nid_cli.pipeline.context import Context
from nid_cli.pipeline.lmc import parse_alignments
from nid_cli.pipeline.plot import plot_lmc

app = typer.Typer(help="Draw figures from recorded results.", no_args_is_help=True, rich_markup_mode=None)


@app.callback()
def _figures() -> None:
    """Draw figures from recorded results; what is missing is named with the command that makes it."""


@app.command(
    epilog=options.examples(
        "nid plot lmc --arch mlp --out lmc.pdf", "nid plot lmc --dataset mnist --split test --out lmc.png"
    )
)
def lmc(
    out: Annotated[Path, typer.Option(metavar="FILE.pdf|.png|.svg", help="The file to draw.")],
    arch: options.Archs = None,
    dataset: options.Datasets = None,
    symmetry: options.Symmetries = None,
    kappa: options.Kappas = None,
    group: options.Groups = None,
    models: options.Models = None,
    epochs: options.Epochs = "last",
    pairs: options.Pairs = "all",
    align: Annotated[
        str, typer.Option(metavar="none,activation,weight", help="Panels, left to right.")
    ] = "none,activation",
    points: Annotated[int, typer.Option(metavar="N", help="Points on each segment.")] = 9,
    split: Annotated[str, typer.Option(metavar="train|val|test", help="Which split's curves.")] = "train",
    registry: options.RegistryOption = None,
    as_json: options.Json = False,
) -> None:
    """Accuracy and loss over lambda, mean and band over pairs, unaligned and aligned side by side."""
    if split not in ("train", "val", "test"):
        raise unknown("split", split, ("train", "val", "test"))
    chosen = options.selection(arch, dataset, symmetry, kappa, group, models, epochs)
    context = Context(registry=registry, argv=options.command_line(), say=render.say)
    record = plot_lmc(context, chosen, out, pairs=pairs, align=parse_alignments(align), points=points, split=split)
    output.show(
        "nid.plot/1", [record], as_json=as_json, export=None, human=lambda: render.say(f"drew {record['path']}")
    )
