"""``--overlay``: the paper's values, or the rows that ``nid plot FIGURE --export`` wrote elsewhere."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nid_cli.errors import NotFoundError, UsageError

if TYPE_CHECKING:
    from nid_cli.plots.overlay import Overlay

PAPER = "paper"
GROUP = ("arch", "dataset", "symmetry", "kappa")
# By figure: where its rows belong, and the field that all means are over.
PLACES = {"lmc": ("align", "split"), "match": ("layer", "against")}
AXES = {"lmc": "lambdas", "match": "x"}


def read(figure: str, source: str) -> Overlay:
    """The values of ``source`` for ``figure``.

    Args:
        source: ``paper``, or a .json file as ``nid plot FIGURE --export`` writes it.

    Raises:
        NotFoundError: there is no such file. UsageError: it holds something else.
    """
    from nid_cli.plots.overlay import Overlay
    from nid_cli.plots.style import literal

    if source == PAPER:
        text, name = (files("nid_cli.plots") / f"paper/{figure}.json").read_text(encoding="utf-8"), "the paper"
    else:
        text, name = _text(Path(source)), literal(Path(source).stem)
    hint = f"nid plot {figure} --export FILE.json makes such a file"
    try:
        document = json.loads(text)
        if document["schema"] != f"nid.plot.{figure}/1":
            raise UsageError(f"--overlay {source!r} holds {document['schema']}, not nid.plot.{figure}/1", hint)
        rows = [_checked(figure, row) for row in document["records"]]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise UsageError(f"--overlay {source!r} does not hold rows of the figure {figure}", hint) from None
    return Overlay(name, rows)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise NotFoundError(
            f"cannot read --overlay {str(path)!r}: {error.strerror}", f"--overlay {PAPER} needs no file"
        ) from None


def _checked(figure: str, row: Mapping[str, Any]) -> dict[str, Any]:
    """A row that can be drawn. Raises a KeyError, TypeError or ValueError at what is missing or no number."""
    import numpy as np

    from nid_cli.plots.style import look

    look(row)
    places = {name: row[name] for name in (*GROUP, *PLACES[figure])}
    means = {name: value for name, value in row.items() if name.endswith("_mean")}
    axis = row[AXES[figure]]
    shape = np.shape(axis)
    for value in (means if axis is None else means | {"axis": axis}).values():
        if np.shape(value) != shape or not np.isfinite(np.asarray(value, dtype=float)).all():
            raise ValueError
    return places | {AXES[figure]: axis} | means
