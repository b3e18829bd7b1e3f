"""Layers on an axis: names where they can be read and are the same, order elsewhere."""

from __future__ import annotations

import warnings
from typing import Any

import pytest

from nid_cli.pipeline.figures.draw import render
from nid_cli.plots import anatomy, similarity
from nid_cli.plots.depth import depth_of
from tests.plots import made

LONG = tuple(f"blocks.{i}.attention.heads+blocks.{i}.attention.vo" for i in range(4))


def rows(**layers: tuple[Any, ...]) -> list[dict[str, Any]]:
    return [{"group": group, "layer": layer} for group, own in layers.items() for layer in (None, *own)]


def test_names_where_all_groups_have_the_same_short_ones() -> None:
    depth = depth_of(rows(a=(0, 1), b=(0, 1)))
    assert depth.names == ["1", "2"] and depth.places == {"a": {0: 0, 1: 1}, "b": {0: 0, 1: 1}}
    assert depth_of(rows(a=("stream.1", "stage1.0"))).names == ["stream.1", "stage1.0"]


@pytest.mark.parametrize("layers", [{"a": (0, 1), "b": ("stream.1", 0)}, {"a": LONG}, {"a": tuple(range(40))}])
def test_order_in_each_network_elsewhere(layers: dict[str, tuple[Any, ...]]) -> None:
    depth = depth_of(rows(**layers))
    assert not depth.names and "from the input" in depth.title
    assert all(list(own.values()) == list(range(len(own))) for own in depth.places.values())


def test_figures_of_long_names_keep_their_panels() -> None:
    """A warning says that a panel has collapsed."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for figure in (
            similarity.draw([made.similarity(made.group(), 0.5, layers=LONG)]),
            anatomy.draw(
                [made.anatomy(made.group(), 1.0, layers=LONG), made.anatomy(made.group("standard", None), 1.0)]
            ),
        ):
            render(figure, ".png", small=True)
            assert all(axis.get_position().height > 0.2 for axis in figure.axes)
