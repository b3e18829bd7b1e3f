"""Others' values beside ours: crosses in the colours of the groups that they speak of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.patheffects import withStroke

from nid_cli.errors import UsageError
from nid_cli.plots import style
from nid_cli.plots.rows import Drawn

# How others' values are drawn: unlike any mark of our own.
MARKS = ("x", "+")
# On one curve so many crosses can be told apart.
MOST_MARKS = 19


@dataclass(frozen=True)
class Overlay:
    """Rows of one figure (as its ``table`` gives them; means alone suffice), and whose they are."""

    source: str
    rows: Sequence[Drawn]

    def beside(self, rows: Sequence[Drawn], *keys: str) -> list[Drawn]:
        """Those of its rows that agree with one of ``rows`` in ``keys``, each with its ``source``.

        Raises:
            UsageError: there is none.
        """
        ours = [[row.get(key) for key in keys] for row in rows]
        found = [row | {"source": self.source} for row in self.rows if [row.get(key) for key in keys] in ours]
        if not found:
            raise UsageError(f"{self.source} has no values for what is drawn here", "leave --overlay out")
        return found


def beside(overlay: Overlay | None, rows: Sequence[Drawn], *keys: str) -> list[Drawn]:
    """:meth:`Overlay.beside`; nothing without one."""
    return overlay.beside(rows, *keys) if overlay else []


def crosses(axis: Any, row: Drawn, x: Any, y: Any, mark: str = MARKS[0], **given: Any) -> None:
    """Values ``y`` over ``x`` of one row."""
    every = -(-len(x) // MOST_MARKS)
    look = {"color": style.look(row)["color"], "marker": mark, "markersize": 4.2, "markeredgewidth": 0.9}
    halo = withStroke(linewidth=2, foreground="white")  # they often lie on marks of ours
    axis.plot(
        x, y, linestyle="", markevery=every, zorder=4, label=f"_{row['source']}", path_effects=[halo], **look, **given
    )


def key(mark: str = MARKS[0]) -> Any:
    """Their entry in a legend."""
    return style.key_line(color=style.GREY, linestyle="", marker=mark)
