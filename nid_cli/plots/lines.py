"""Lines over an axis of :mod:`nid_cli.plots.against`: points in the colours of their groups, bars of one sd."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from nid_cli.plots import against as x_axis
from nid_cli.plots import style
from nid_cli.plots.rows import Drawn, cells

# Dash and marker of a kind of line (an alignment, an objective); colours are the groups'.
Look = tuple[Any, str]
FILLS = ("full", "none", "left", "top")


def _colour(rows: Sequence[Drawn]) -> str:
    """Of a line: its groups' own where they agree, else the one of their symmetry type at kappa 1."""
    found = {style.look(row)["color"] for row in rows}
    return str(found.pop() if len(found) == 1 else style.look({**rows[0], "kappa": 1.0})["color"])


def fills(rows: Sequence[Drawn]) -> dict[str, Any]:
    """For each series how its markers are filled: series of one colour differ, and all where they are many.

    Args:
        rows: all of a figure, so that a series has one fill in all its lines.
    """
    by_colour: dict[str, list[str]] = {}
    series = cells(rows, "series")
    for (text,), own in series.items():
        by_colour.setdefault("" if len(series) > style.MOST_ALIKE else _colour(own), []).append(text)
    return {text: FILLS[i % len(FILLS)] for texts in by_colour.values() for i, text in enumerate(texts)}


def draw(axis: Any, rows: Sequence[Drawn], name: str, look: Look, filled: Mapping[str, Any]) -> None:
    """``name_mean`` of all series over ``x``, with bars of ``name_sd``; series without an x are level lines in a band.

    Args:
        filled: what :func:`fills` gives for all rows of the figure.
    """
    dash, marker = look
    for (text,), own in cells(rows, "series").items():
        placed = sorted((r for r in own if r["x"] is not None), key=lambda r: float(r["x"]))
        colour = _colour(own)
        if placed:
            x, y = ([row[key] for row in placed] for key in ("x", f"{name}_mean"))
            axis.plot(x, y, color=colour, linestyle=dash, linewidth=1, zorder=2, label=f"_{text}")
        for row in placed:
            point = style.look(row)["color"]
            axis.errorbar(
                row["x"], row[f"{name}_mean"], yerr=row[f"{name}_sd"], color=point, marker=marker,
                fillstyle=filled[text], elinewidth=0.8, linestyle="", zorder=3,
            )  # fmt: skip
        for row in (r for r in own if r["x"] is None):
            mean, sd = row[f"{name}_mean"], row[f"{name}_sd"]
            axis.axhline(mean, color=colour, linestyle=dash, linewidth=0.9, zorder=1, label=f"_{text}")
            if sd is not None:
                axis.axhspan(mean - sd, mean + sd, color=colour, alpha=0.1, linewidth=0, zorder=0)


def finish(axis: Any, rows: Sequence[Drawn], against: str) -> None:
    """Scale and title of the x axis, and a pale grid."""
    x_axis.scale(axis, against, [row["x"] for row in rows if row["x"] is not None])
    axis.grid(color="0.92", linewidth=0.5)
    axis.set_axisbelow(True)


def handles(rows: Sequence[Drawn], looks: Mapping[str, Look], words: Mapping[str, str]) -> dict[str, Any]:
    """The legend: a line in its colour for each series, one in grey for each kind, and what the bars are."""
    filled = fills(rows)
    found: dict[str, Any] = {}
    for (text,), own in cells(rows, "series").items():
        placed = any(row["x"] is not None for row in own)
        found[text] = style.key_line(
            color=_colour(own), marker="o" if placed else "", fillstyle=filled[text], linestyle="-"
        )
    for kind, (dash, marker) in looks.items():
        found[words[kind]] = style.key_line(color=style.GREY, linestyle=dash, marker=marker)
    return found | style.spread_key(rows, "pairs", band=False)


def present(kinds: Mapping[str, Any], found: Iterable[str]) -> list[str]:
    """The kinds that occur, in the order of the table."""
    occurring = set(found)
    return [kind for kind in kinds if kind in occurring]
