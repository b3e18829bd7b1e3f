"""``--overlay``: the paper's values, or the rows that ``nid plot FIGURE --export`` wrote elsewhere."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from importlib.resources import files
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nid_cli.errors import NotFoundError, UsageError
from nid_cli.specs import SYMMETRIES

if TYPE_CHECKING:
    from nid_cli.plots.overlay import Overlay

PAPER = "paper"
GROUP = ("arch", "dataset", "symmetry", "kappa", "epoch")


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


def _curve(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row of the figure ``lmc``: accuracy, loss or both over lambda."""
    lambdas, split = _reals(row["lambdas"]), row["split"]
    names = [f"{split}_{quantity}_mean" for quantity in ("accuracy", "loss")]
    means = {name: _reals(row[name]) for name in names if name in row}
    if not means or any(len(values) != len(lambdas) for values in means.values()):
        raise ValueError
    return {"align": row["align"], "split": split, "lambdas": lambdas} | means


def _objectives(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row of the figure ``match``: both objectives at a place on the axis, or on a level."""
    places = {name: row[name] for name in ("layer", "at", "similarity", "against", "x")}
    numbers = [row["optimal_mean"], row["identity_mean"]]
    _reals(numbers if row["x"] is None else [*numbers, row["x"]])
    return places | {"optimal_mean": numbers[0], "identity_mean": numbers[1]}


FIGURES: Mapping[str, Callable[[Mapping[str, Any]], dict[str, Any]]] = {"lmc": _curve, "match": _objectives}


def _checked(figure: str, row: Mapping[str, Any]) -> dict[str, Any]:
    """A row that can be drawn. Raises a KeyError, TypeError or ValueError at what is missing or no number."""
    kappa = row["kappa"]
    if ("kappa" in SYMMETRIES[row["symmetry"]].settings) != (kappa is not None):
        raise ValueError
    _reals(kappa if isinstance(kappa, list) else [0.0 if kappa is None else kappa])
    return {name: row[name] for name in GROUP} | FIGURES[figure](row)


def _reals(values: Any) -> list[float]:
    if type(values) is not list or not values or any(type(v) not in (int, float) or not isfinite(v) for v in values):
        raise ValueError
    return values
