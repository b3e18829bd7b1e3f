"""Commands as tables of a sweep: their options are read by the command line's own parser, so that both mean the same.

Where a sweep only wants to know what a command is asked for, the command hands it over in the place of doing it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import typer

from nid_cli.cli.commands import load
from nid_cli.errors import NidError, UsageError, unknown
from nid_cli.pipeline.analyses.catalog import ANALYSES
from nid_cli.pipeline.figures.table import FIGURES
from nid_cli.pipeline.sweeps.parts import Part

# What a sweep decides for all of its parts.
OF_THE_SWEEP = frozenset(
    {"registry", "data_dir", "device", "as_json", "engine", "address", "gpus_per_model", "workers", "help", "columns"}
)

# The commands that a sweep may have: those that measure or draw.
PARTS = (*(analysis.command for analysis in ANALYSES.values()), *(f"plot {figure}" for figure in FIGURES))


_kept: ContextVar[list[Part] | None] = ContextVar("kept", default=None)


def hand_over(part: Part) -> bool:
    """Hands a part over where somebody only wants to know; False: it is to be done."""
    found = _kept.get()
    if found is None:
        return False
    found.append(part)
    return True


@contextmanager
def _keeping() -> Iterator[list[Part]]:
    found: list[Part] = []
    token = _kept.set(found)
    try:
        yield found
    finally:
        _kept.reset(token)


def part_of(command: str, settings: Mapping[str, Any], where: str) -> Part:
    """What ``nid COMMAND`` with these settings is asked for.

    Args:
        command: of an analysis, or ``plot`` and a figure.
        settings: by option; a list is given as several values, a table as KEY=VALUE.
        where: the table, in words, for sentences.

    Raises:
        UsageError: no such command or option, or a value that the command refuses.
    """
    if command not in PARTS:
        kind, own = ("figure", "plot ") if command.startswith("plot ") else ("analysis", "")
        known = [name.removeprefix("plot ") for name in PARTS if name.startswith("plot ") == bool(own)]
        error = unknown(kind, command.removeprefix(own), known)
        raise UsageError(f"{where}: {error.message}", error.hint)
    first, *others = command.split()
    found = load(first)
    for word in others:
        found = found.commands[word]
    options = {option.name: option for option in found.params if option.name not in OF_THE_SWEEP}
    arguments: list[str] = []
    for name, value in settings.items():
        key = name.replace("-", "_")
        option = next((own for own in options.values() if key in (own.name, _long(own))), None)
        if option is None:
            known = [_long(own) for own in options.values()]
            error = unknown(f"setting of nid {command}", name, known)
            raise UsageError(f"{where}: {error.message}", error.hint)
        arguments += _given(option, value)
    try:
        with _keeping() as parts:
            found.main(arguments, standalone_mode=False, prog_name=f"nid {command}")
    except NidError as error:
        raise type(error)(f"{where}: {error.message}", error.hint) from None
    except typer.TyperException as error:
        raise UsageError(f"{where}: {' '.join(error.format_message().split())}") from None
    [part] = parts
    return part


def _long(option: Any) -> str:
    """An option's name as users write it, with underscores."""
    longest: str = max(option.opts, key=len)
    return longest.lstrip("-").replace("-", "_")


def _given(option: Any, value: Any) -> list[str]:
    flag = max(option.opts, key=len)
    if isinstance(value, bool):
        return [flag] if value else []
    if isinstance(value, Mapping):
        return [word for key, own in value.items() for word in (flag, f"{key}={_text(own)}")]
    if isinstance(value, list) and option.multiple:
        return [word for own in value for word in (flag, _text(own))]
    return [flag, _text(value)]


def _text(value: Any) -> str:
    if isinstance(value, list):
        return ",".join(map(_text, value))
    return repr(value) if isinstance(value, float) else str(value)
