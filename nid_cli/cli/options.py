"""Options that commands share."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from nid_cli.cli import render
from nid_cli.data.catalog import CATALOG
from nid_cli.errors import NidError, UsageError
from nid_cli.nets import ARCHITECTURES
from nid_cli.pipeline.context import Context
from nid_cli.recipes import symmetry_name
from nid_cli.registry.selection import Selection
from nid_cli.specs import SYMMETRIES, Kappa


def _complete_groups() -> list[str]:
    from nid_cli.pipeline.manage import group_names

    try:
        return group_names(Context())
    except NidError:
        return []


RegistryOption = Annotated[
    Path | None,
    typer.Option("--registry", metavar="FILE", help="The registry [nearest .nid/registry.db, or NID_REGISTRY]."),
]
DataDir = Annotated[
    Path | None,
    typer.Option("--data-dir", metavar="DIR", help="Where data sets lie [NID_DATA_DIR, or the user's cache]."),
]
Device = Annotated[str, typer.Option("--device", metavar="auto|cpu|cuda[:i]", help="Where to compute.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of a table.")]
Export = Annotated[
    str | None,
    typer.Option("--export", metavar="FILE", help="Write the records: .json, .jsonl, .csv or .parquet; - is stdout."),
]
Force = Annotated[bool, typer.Option("--force", help="Compute again what the registry has already.")]

Archs = Annotated[
    list[str] | None,
    typer.Option(
        "--arch", metavar="ARCH", help="Only these architectures.", autocompletion=lambda: list(ARCHITECTURES)
    ),
]
Datasets = Annotated[
    list[str] | None,
    typer.Option("--dataset", metavar="NAME", help="Only these data sets.", autocompletion=lambda: list(CATALOG)),
]
Symmetries = Annotated[
    list[str] | None,
    typer.Option("--symmetry", metavar="TYPE", help="Only these types.", autocompletion=lambda: list(SYMMETRIES)),
]
Kappas = Annotated[
    list[str] | None, typer.Option("--kappa", metavar="K[,K..]", help="Only this kappa (a comma list: one a layer).")
]
Groups = Annotated[
    list[str] | None,
    typer.Option("--group", metavar="NAME", help="Only this group; repeatable.", autocompletion=_complete_groups),
]
GroupName = Annotated[str, typer.Argument(metavar="NAME", help="A group's name.", autocompletion=_complete_groups)]
Models = Annotated[
    str | None, typer.Option("--models", metavar="1,2,5-8", help="Only these models [all complete ones].")
]
Epochs = Annotated[str, typer.Option("--epochs", metavar="last|all|0,5|0:100:5", help="Which checkpoints.")]


Pairs = Annotated[str, typer.Option("--pairs", metavar="all|disjoint|1-2,3-4", help="Which pairs of models.")]
ExplainedVariance = Annotated[
    float, typer.Option("--explained-variance", metavar="P", help="Share of the inputs' variance in the subspace.")
]


def parse_numbers(text: str, what: str) -> list[float]:
    """``1,1,0.5`` as numbers.

    Raises:
        UsageError: it cannot be read so.
    """
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise UsageError(f"{what} must be a number, or several like 1,1,0.5, not {text!r}") from None


def _kappa(text: str) -> Kappa:
    if text.strip().lower() in ("null", "none"):
        return None
    numbers = parse_numbers(text, "kappa")
    if any(k != k or k < 0 for k in numbers):
        raise UsageError(f"kappa must be a number that is not negative, not {text}")
    return numbers[0] if len(set(numbers)) == 1 else numbers


def selection(
    arch: list[str] | None = None,
    dataset: list[str] | None = None,
    symmetry: list[str] | None = None,
    kappa: list[str] | None = None,
    group: list[str] | None = None,
    models: str | None = None,
    epochs: str = "last",
) -> Selection:
    """The selectors of a command as one value.

    Raises:
        UsageError: an unknown name or an unreadable number.
    """
    from nid_cli.errors import unknown

    for what, given, choices in (("architecture", arch, ARCHITECTURES), ("data set", dataset, CATALOG)):
        for name in given or ():
            if name not in choices:
                raise unknown(what, name, choices)
    return Selection(
        arch=tuple(arch or ()),
        dataset=tuple(dataset or ()),
        symmetry=tuple(symmetry_name(s) for s in symmetry or ()),
        kappa=tuple(_kappa(k) for k in kappa or ()),
        group=tuple(group or ()),
        models=models,
        epochs=epochs,
    )


def examples(*commands: str) -> str:
    """The end of a command's help: one example a line (``\\b`` keeps the lines apart)."""
    return "\n".join(["\b", "Examples:", *(f"  {command}" for command in commands)])


BnReset = Annotated[bool, typer.Option("--bn-reset", help="Batch-norm statistics estimated anew after interpolation.")]
LayersOption = Annotated[
    str | None, typer.Option("--layers", metavar="0,1,NAME", help="Layers, by index or name [all].")
]


def indices(text: str | None, what: str) -> list[int] | None:
    """``0,2`` as whole numbers; None stays None.

    Raises:
        UsageError: it cannot be read so.
    """
    if text is None:
        return None
    if not all(part.strip().isdecimal() for part in text.split(",")):
        raise UsageError(f"{what} must be whole numbers like 0,2, not {text!r}")
    return list(dict.fromkeys(int(part) for part in text.split(",")))


def layers(text: str | None) -> list[str] | None:
    """``0,2`` or ``stem.conv,linear`` as names of layers; None stays None."""
    return None if text is None else [part.strip() for part in text.split(",")]


@contextmanager
def context(registry: Path | None, data_dir: Path | None, device: str) -> Iterator[Context]:
    """The surroundings of one analysis, with its progress drawn while it runs."""
    with render.progress() as progress:
        yield Context(
            registry=registry,
            data_dir=data_dir,
            device=device,
            argv=command_line(),
            progress=progress,
            say=render.say,
        )


def command_line() -> tuple[str, ...]:
    """The command as it was typed, for the lineage."""
    return ("nid", *sys.argv[1:])
