"""Layers along an axis, from the input to the output."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nid_cli.plots import style
from nid_cli.plots.rows import Drawn

# Of longer names, and of more names than these, none could be read.
LONGEST, MOST = 14, 24
# Shorter ones lie flat, where there are few.
FLAT, FEW = 11, 5


@dataclass(frozen=True)
class Depth:
    """Where the layers of each group stand, the names of the places (none: numbers), and the axis's title."""

    places: Mapping[str, Mapping[Any, int]]
    names: Sequence[str]
    title: str

    def mark(self, axis: Any) -> None:
        """Ticks, limits and title of a horizontal axis."""
        axis.set_xlabel(self.title)
        if self.names:
            name_places(axis, self.names)
            return
        count = max((len(own) for own in self.places.values()), default=0)
        step = -(-count // 10) or 1
        axis.set_xticks(range(0, count, step), [str(place + 1) for place in range(0, count, step)])
        axis.set_xlim(-0.5, max(count, 1) - 0.5)


def name_places(axis: Any, names: Sequence[str]) -> None:
    """Ticks and limits of a horizontal axis with these names (of several lines, maybe) from 0 on; upright where they
    would meet."""
    longest = max((len(line) for name in names for line in name.split("\n")), default=0)
    upright = longest > FLAT or (len(names) > FEW and longest > 2)
    axis.set_xticks(range(len(names)), names, rotation=90 if upright else 0)
    axis.set_xlim(-0.5, max(len(names), 1) - 0.5)


def depth_of(rows: Sequence[Drawn]) -> Depth:
    """By their names where all groups have the same layers, of short names; else by their order in each network.

    Args:
        rows: with ``group`` and ``layer`` (None: of the whole network), each group's layers in order.
    """
    layers: dict[str, dict[Any, int]] = {}
    for row in rows:
        if row["layer"] is not None:
            own = layers.setdefault(row["group"], {})
            own.setdefault(row["layer"], len(own))
    first = next(iter(layers.values()), {})
    names = [style.short_layer(layer) for layer in first]
    alike = all(list(own) == list(first) for own in layers.values())
    if alike and len(names) <= MOST and max(map(len, names), default=0) <= LONGEST:
        return Depth(layers, names, "layer")
    return Depth(layers, (), "layer, from the input on")
