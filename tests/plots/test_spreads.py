"""What the figures show of the chosen split and kind, and how wide their bars and bands are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from nid_cli.plots import barrier, coherence, lmc, match, summary, synthetic, training
from tests.plots import made

# Of two values that lie 2 apart.
SD = 2**0.5


def bars(axis: Any) -> list[list[float]]:
    """Where each error bar that has a length stands, and its two ends."""
    drawn = [bar for container in axis.containers for lines in container.lines[2] for bar in lines.get_segments()]
    return sorted([float(x), float(low), float(high)] for (x, low), (_, high) in drawn if low < high)


def bands(axis: Any, x: float) -> list[list[float]]:
    """The lower and upper end of each band at ``x``."""
    outlines = [band.get_paths()[0].vertices for band in axis.collections if band.get_paths()[0].codes is not None]
    at_x = [outline[np.isclose(outline[:, 0], x), 1] for outline in outlines]
    return [[float(y.min()), float(y.max())] for y in at_x if len(y)]


def around(mean: float, width: float) -> list[float]:
    return [mean - width, mean + width]


def mean_line(axis: Any) -> Sequence[float]:
    """The values of the one line that is in the legend."""
    [line] = [line for line in axis.get_lines() if not str(line.get_label()).startswith("_")]
    return line.get_ydata()


@pytest.mark.parametrize("split", made.SPLITS)
@pytest.mark.parametrize("kind", barrier.KINDS)
def test_barriers_are_those_of_the_split_and_kind_with_bars_of_one_sd(split: str, kind: str) -> None:
    records = [made.pair(made.group(kappa=k), h + k) for k in (0.0, 1.0) for h in (3.0, 5.0)]
    times = made.SPLITS[split] * {"chord": 1, "max": 0.7, "mid": 0.9}[kind]
    for axis, unit in zip(barrier.draw(records, split=split, kind=kind).axes, (times, times / 10), strict=True):
        [line] = [line for line in axis.get_lines() if line.get_label() == "_W-MLP"]
        np.testing.assert_allclose(line.get_ydata(), [4 * unit, 5 * unit])
        np.testing.assert_allclose(bars(axis), [[k, *around((4 + k) * unit, SD * unit)] for k in (0, 1)])


@pytest.mark.parametrize(("split", "times"), made.SPLITS.items())
def test_curves_are_those_of_the_split_in_a_band_of_one_sd(split: str, times: float) -> None:
    accuracy, loss = lmc.draw([made.pair(made.group(), h) for h in (3.0, 5.0)], split).axes
    for axis, middle, unit in ((accuracy, 100 - 4 * times, times), (loss, 0.4 * times, 0.1 * times)):
        assert mean_line(axis)[2] == pytest.approx(middle)
        np.testing.assert_allclose(bands(axis, 0.5), [around(middle, SD * unit)])


def test_training_has_a_column_of_panels_for_each_split() -> None:
    records = [r for model, last in ((1, 1.0), (2, 3.0)) for r in made.epochs(made.group(), [8.0, 4.0, last], model)]
    axes = training.draw(records, tuple(made.SPLITS)).axes
    for loss, accuracy, times in zip(axes[:3], axes[3:], made.SPLITS.values(), strict=True):
        np.testing.assert_allclose(mean_line(loss), np.multiply(times, [8, 4, 2]))
        np.testing.assert_allclose(mean_line(accuracy), np.subtract(100, np.multiply(times, [8, 4, 2])))


def of_matching(of: made.Record) -> list[made.Record]:
    return [made.match(of, 0, 6.0, identity, pair=2 + i) | {"random_mean": 0.1} for i, identity in enumerate((3, 5))]


def test_random_permutations_are_a_band_of_two_sd() -> None:
    groups = (made.group(kappa=0.0), made.group(), made.group("standard", None))
    [axis] = match.draw([r for g in groups for r in of_matching(g)]).axes
    for kappa in (0, 1):
        np.testing.assert_allclose(bands(axis, kappa), [around(0.1, 0.02)])
    level = axis.patches[0]  # of the group that has no kappa
    box = level.get_window_extent().transformed(axis.transData.inverted())
    np.testing.assert_allclose(sorted([box.y0, box.y1]), around(0.1, 0.02))
    np.testing.assert_allclose(bars(axis), [[kappa, *around(4, SD)] for kappa in (0, 1)])


@pytest.mark.parametrize(("against", "place"), [("layer", 0), ("epoch", 5)])
def test_coherence_has_bars_of_one_sd_over_models(against: str, place: float) -> None:
    records = [made.coherence(made.group(), 0, value, value / 2, i) for i, value in enumerate((0.3, 0.5), 1)]
    value, dimension, anisotropy = coherence.draw(records, against).axes
    np.testing.assert_allclose(bars(value), [[place, *around(0.4, 0.1 * SD)]])
    np.testing.assert_allclose(bars(anisotropy), [[place, *around(0.2, 0.05 * SD)]])
    assert bars(dimension) == []  # all models have the same


def test_synthetic_barriers_and_curves_lie_in_bands_of_one_sd() -> None:
    records = [made.synthetic("exact_copy", n, 4.0 * n + 2 * pair, pair) for n in (1, 2) for pair in (0, 1)]
    barriers, most, least = synthetic.draw(records).axes
    for axis, x, mean in ((barriers, 1, 5), (barriers, 0.5, 9), (most, 0.5, 5), (least, 0.5, 9)):
        np.testing.assert_allclose(bands(axis, x), [around(mean, SD)])


def test_a_summary_has_the_same_bars_and_bands() -> None:
    parts = {
        "training": made.epochs(made.group(), [8.0, 4.0]),
        "lmc": [made.pair(made.group(), h) for h in (3.0, 5.0)],
        "match": of_matching(made.group()),
        "cost": [made.cost(made.group(), 0, made.swaps(4))],
        "coherence": [made.coherence(made.group(), 0, value, model=i) for i, value in enumerate((0.3, 0.5), 1)],
    }
    axes = summary.draw([r | {"part": part} for part, own in parts.items() for r in own]).axes
    losses = {str(line.get_label()): line.get_ydata() for line in axes[0].get_lines()}
    np.testing.assert_allclose([losses["train"], losses["test"]], [[8, 4], [24, 12]])
    np.testing.assert_allclose(bands(axes[3], 0.5), [around(0.4, 0.1 * SD)])
    for place in (0, 1):  # the layer, and all pooled
        np.testing.assert_allclose(bands(axes[4], place - 0.3), [around(0.1, 0.02)])
    np.testing.assert_allclose(bars(axes[4]), [[place + 0.1, *around(4, SD)] for place in (0, 1)])
    np.testing.assert_allclose(bars(axes[6]), [[0, *around(0.4, 0.1 * SD)]])
