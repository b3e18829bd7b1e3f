"""Options that commands share."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import wraps
from inspect import Parameter, Signature, signature
from pathlib import Path
from typing import Annotated, Any

import typer

from nid_cli.analysis.catalog import REPAIRS
from nid_cli.cli import render
from nid_cli.errors import NidError, UsageError
from nid_cli.pipeline.choices import layers as layers
from nid_cli.pipeline.choices import parse_numbers as parse_numbers
from nid_cli.pipeline.context import Context

Completion = Callable[[str], list[str]]


def among(choices: Iterable[str]) -> Completion:
    """Completes one of ``choices``."""
    names = list(choices)

    def complete(incomplete: str) -> list[str]:
        return [name for name in names if name.startswith(incomplete)]

    return complete


def several(choices: Iterable[str]) -> Completion:
    """Completes the last name of a comma list of ``choices``, without those that stand there already."""
    names = list(choices)

    def complete(incomplete: str) -> list[str]:
        before, comma, last = incomplete.rpartition(",")
        given = before.split(",")
        return [f"{before}{comma}{name}" for name in names if name.startswith(last) and name not in given]

    return complete


def complete_groups() -> list[str]:
    """The names of groups, for shell completion; none where they cannot be read."""
    from nid_cli.pipeline.housekeeping.group import group_names

    try:
        return group_names(Context())
    except NidError:
        return []


def complete_sweeps() -> list[str]:
    """The names of the sweeps that were run, for shell completion; none where they cannot be read."""
    from nid_cli.pipeline.housekeeping.group import sweep_names

    try:
        return sweep_names(Context())
    except NidError:
        return []


def complete_shipped(incomplete: str) -> list[str]:
    """The names of the sweeps that come with nid."""
    from nid_cli.pipeline.sweeps import shipped

    return [name for name in shipped.names() if name.startswith(incomplete)]


def complete_layers(incomplete: str) -> list[str]:
    """The names of the layers of networks that are in the registry, as a comma list."""
    from nid_cli.pipeline.housekeeping.group import layer_names

    try:
        return several(layer_names(Context()))(incomplete)
    except NidError:
        return []


def complete_columns(typer_context: typer.Context, incomplete: str) -> list[str]:
    """The fields of the records that the command at hand gives, as a comma list."""
    from nid_cli.pipeline.analyses.catalog import ANALYSES

    command = typer_context.command_path.partition(" ")[2]
    kinds = [kind for analysis in ANALYSES.values() if analysis.command == command for kind in analysis.records]
    return several(dict.fromkeys(column.name for kind in kinds for column in kind.columns()))(incomplete)


RegistryOption = Annotated[
    Path | None,
    typer.Option("--registry", metavar="FILE", help="The registry [nearest .nid/registry.db, or NID_REGISTRY]."),
]
DataDir = Annotated[
    Path | None,
    typer.Option("--data-dir", metavar="DIR", help="Where data sets lie [NID_DATA_DIR, or the user's cache]."),
]
Device = Annotated[
    str,
    typer.Option(
        "--device", metavar="auto|cpu|cuda[:i]", help="Where to compute.", autocompletion=among(("auto", "cpu", "cuda"))
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of a table.")]
Export = Annotated[
    str | None,
    typer.Option("--export", metavar="FILE", help="Write the records: .json, .jsonl, .csv or .parquet; - is stdout."),
]
Columns = Annotated[
    str | None,
    typer.Option(
        "--columns",
        metavar="NAME[,NAME..]",
        help="Only these fields of the records, in this order.",
        autocompletion=complete_columns,
    ),
]
Force = Annotated[bool, typer.Option("--force", help="Compute again what the registry has already.")]

GroupName = Annotated[str, typer.Argument(metavar="NAME", help="A group's name.", autocompletion=complete_groups)]
Pairs = Annotated[
    str,
    typer.Option(
        "--pairs",
        metavar="all|disjoint|1-2,3-4",
        help="Which pairs of models.",
        autocompletion=among(("all", "disjoint")),
    ),
]
PairsOrEpochs = Annotated[
    str,
    typer.Option(
        "--pairs",
        metavar="all|disjoint|1-2,3-4|epochs",
        help="Which pairs of models; epochs: of each model its first epoch (or those chosen) and its last.",
        autocompletion=among(("all", "disjoint", "epochs")),
    ),
]
ExplainedVariance = Annotated[
    float, typer.Option("--explained-variance", metavar="P", help="Share of the inputs' variance in the subspace.")
]
BnReset = Annotated[bool, typer.Option("--bn-reset", help="Batch-norm statistics estimated anew after interpolation.")]
LearnSteps = Annotated[
    int, typer.Option("--learn-steps", metavar="N", help="Of the alignment learned: steps of its training.")
]
Anatomy = Annotated[
    bool,
    typer.Option("--anatomy", help="What barriers are made of: ensemble gain, merging cost, layers, calibration."),
]
Repair = Annotated[
    str | None,
    typer.Option(
        "--repair",
        metavar="exact|closed",
        help="Means and deviations of pre-activations corrected after interpolation: measured anew layer by layer, or "
        "by the ends' covariances.",
        autocompletion=among(REPAIRS),
    ),
]
Model = Annotated[
    str | None,
    typer.Option(
        "--model", metavar="MODEL", help="FILE.py:FUNCTION or package.module:FUNCTION, which returns a torch module."
    ),
]
ModelArgs = Annotated[
    list[str] | None,
    typer.Option("--model-arg", metavar="KEY=VALUE", help="An argument of the function; repeatable."),
]
Input = Annotated[
    str | None,
    typer.Option("--input", metavar="3x64x64|16:100", help="One sample: numbers, or whole numbers below 100."),
]
DataParameters = Annotated[
    list[str] | None, typer.Option("--data", metavar="KEY=VALUE", help="A parameter of the data set; repeatable.")
]
LayersOption = Annotated[
    str | None,
    typer.Option(
        "--layers", metavar="0,1,NAME", help="Layers, by index or name [all].", autocompletion=complete_layers
    ),
]


def bundle(
    name: str, declared: Mapping[str, tuple[Any, Any]], make: Callable[..., Any]
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Makes a command take many options where its parameter ``name`` stands: the value that ``make`` gives of them.

    Args:
        declared: each option's annotation and default, by the name that ``make`` has for it.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @wraps(command)
        def takes(**given: Any) -> None:
            made = make(**{option: given.pop(option) for option in declared})
            command(**{name: made}, **given)

        options = [Parameter(n, Parameter.KEYWORD_ONLY, annotation=a, default=d) for n, (a, d) in declared.items()]
        taken: list[Parameter] = []
        for own in signature(command, eval_str=True).parameters.values():
            taken += options if own.name == name else [own.replace(kind=Parameter.KEYWORD_ONLY)]
        # Typer reads a command's options from its signature.
        takes.__signature__ = Signature(taken)  # type: ignore[attr-defined]
        return takes

    return decorate


def examples(*commands: str) -> str:
    """The end of a command's help: one example on each line (``\\b`` keeps the lines apart)."""
    return "\n".join(["\b", "Examples:", *(f"  {command}" for command in commands)])


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


def parameters(given: Iterable[str]) -> dict[str, str]:
    """``KEY=VALUE`` texts of a data set.

    Raises:
        UsageError: one is none.
    """
    found = {}
    for text in given:
        key, separator, value = text.partition("=")
        if not separator or not key or not value:
            raise UsageError(f"--data takes KEY=VALUE, not {text!r}")
        found[key.replace("-", "_")] = value
    return found


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
