"""``nid align``."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from nid_cli.analysis.parameters import LEARN_STEPS
from nid_cli.cli import options, output, render
from nid_cli.errors import UsageError
from nid_cli.records.align import Aligned
from nid_cli.specs import ALIGNMENTS

EXAMPLES = options.examples(
    "nid align mlp-digits-w-k1 --models 1,2 --out b-aligned.safetensors",
    "nid align --group mine --models 1,2 --align weight --out b-aligned.pt --permutation p.json",
)
NAMES = [name for name, alignment in ALIGNMENTS.items() if alignment.function]


def align(
    name: Annotated[
        str | None, typer.Argument(metavar="[GROUP]", help="A group.", autocompletion=options.complete_groups)
    ] = None,
    models: Annotated[str, typer.Option(metavar="A,B", help="B is permuted to match A.")] = "1,2",
    align: Annotated[
        str, typer.Option(metavar="|".join(NAMES), help="How.", autocompletion=options.among(NAMES))
    ] = "activation",
    learn_steps: Annotated[
        int | None, typer.Option(metavar="N", help=f"Of the alignment learned: steps of its training [{LEARN_STEPS}].")
    ] = None,
    epoch: Annotated[int | None, typer.Option(metavar="N", help="Of this epoch [the last of both].")] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="B's new state dictionary: .safetensors, .pt or .pth.")
    ] = None,
    permutation: Annotated[
        Path | None, typer.Option(metavar="FILE.json", help="The permutation, with where it comes from.")
    ] = None,
    group: Annotated[
        str | None, typer.Option(metavar="NAME", help="The group.", autocompletion=options.complete_groups)
    ] = None,
    device: options.Device = "auto",
    registry: options.RegistryOption = None,
    data_dir: options.DataDir = None,
    as_json: options.Json = False,
) -> None:
    """Write a model's state dictionary, its neurons permuted to match another model of the group."""
    from nid_cli.pipeline import aligning

    order = aligning.Order(
        group=_group(name, group),
        models=_pair(models),
        align=align,
        epoch=epoch,
        out=_given(out),
        permutation=permutation,
        learn_steps=learn_steps,
    )
    with options.context(registry, data_dir, device) as context:
        record = aligning.align(context, order)

    def human() -> None:
        shown = ("distance_before", "distance_after", "moved", "path", "permutation_path", "sha256")
        headings = {column.name: column.heading for column in Aligned.columns()}
        render.table(("field", "value"), [(headings[name], record[name]) for name in shown if record[name] is not None])

    output.show(Aligned, [record], as_json=as_json, export=None, human=human)


def _group(name: str | None, group: str | None) -> str:
    if (name is None) == (group is None):
        raise UsageError("name one group to align in", "nid align GROUP --models 1,2 --out b.safetensors")
    return name or group or ""


def _pair(text: str) -> tuple[int, int]:
    if not (found := re.fullmatch(r"\s*(\d{1,9})\s*,\s*(\d{1,9})\s*", text)):
        raise UsageError(f"models must be two like 1,2, not {text!r}", "the second is permuted to match the first")
    return int(found[1]), int(found[2])


def _given(out: Path | None) -> Path:
    if out is None:
        raise UsageError("say where to write the permuted state dictionary", "--out b-aligned.safetensors")
    return out
