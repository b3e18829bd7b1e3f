"""The analyses and figures of a sweep, as the commands that do them understand them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from nid_cli.pipeline.context import Context
from nid_cli.pipeline.engines.jobs import Place
from nid_cli.specs import Selection

if TYPE_CHECKING:
    from nid_cli.pipeline.analyses.requests import Request


@dataclass(frozen=True)
class Engines:
    """Where a sweep's jobs run: the engine's name, and what it is told."""

    name: str
    place: Place


@dataclass(frozen=True, kw_only=True)
class Part:
    """One thing that a command was asked for.

    Args:
        kind: ``measure`` or ``plot``. ``name`` says it in words.
        selection: None where it is about no groups.
        run: does it, in given surroundings, on the groups of a selection.
        request: what it asks of an analysis, on a selection; None for figures.
        target: the file that it writes: a figure, or an export.
        is_there: whether all of it was done already, where that can be told without doing it.
        leaves_file: whether it writes an export, which the registry does not know of.
    """

    kind: str
    name: str
    selection: Selection | None
    run: Callable[[Context, Selection | None, Engines], None]
    request: Callable[[Selection | None], Request] | None = None
    target: Path | None = None
    is_there: Callable[[Context], bool] = lambda context: False
    leaves_file: bool = False
