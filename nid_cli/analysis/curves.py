"""A split's curve along a segment, with every barrier that the literature uses (docs/science.md, 3)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate
from typing import Any

from nid_cli.metrics import Metrics
from nid_cli.records.lmc import Curve

SplitMetrics = dict[str, Metrics]


def curve(weights: Sequence[float], losses: Sequence[float], accuracies: Sequence[float], middle: Metrics) -> Curve:
    """A split's curve with every barrier that the literature uses, each by its own name (docs/science.md, 3).

    Args:
        weights: from 0 to 1; ``losses`` and ``accuracies`` (percent) are those there, ``middle`` the metrics at 1/2.
            Where a loss is not a number, neither are the barriers of the losses.
    """
    barriers: dict[str, Any] = {}
    errors = [100 - accuracy for accuracy in accuracies]
    for name, values, mid in (("loss", losses, middle.loss), ("error", errors, 100 - middle.accuracy)):
        chords = [(1 - w) * values[0] + w * values[-1] for w in weights]
        barriers[f"{name}_barrier"] = _greatest([v - chord for v, chord in zip(values, chords, strict=True)])
        barriers[f"{name}_barrier_max"] = _greatest(values) - max(values[0], values[-1])
        barriers[f"{name}_barrier_mid"] = mid - (values[0] + values[-1]) / 2
    best_end = max(accuracies[0], accuracies[-1])
    return Curve(
        loss=list(losses),
        accuracy=list(accuracies),
        **barriers,
        relative_accuracy_drop=100 * (min(accuracies) - best_end) / best_end if best_end > 0 else 0.0,
        accuracy_mid=middle.accuracy,
    )


def greatest_rise(losses: Sequence[float]) -> float:
    """max over i <= j of losses[j] - losses[i]: 0 where the loss never rises on the way (Goodfellow et al. 2015); not a
    number where one of them is none."""
    return _greatest([loss - least for loss, least in zip(losses, accumulate(losses, min), strict=True)])


def _greatest(values: Sequence[float]) -> float:
    """The greatest value; Python's ``max`` would pass over one that is not a number."""
    return math.nan if any(map(math.isnan, values)) else max(values)


def curve_of(
    split: str, weights: Sequence[float], metrics: Sequence[SplitMetrics], middle: SplitMetrics, path: bool = False
) -> Curve:
    """The curve of one split, from the metrics at ``weights`` and at 1/2; ``path``: of one model's, with its rise."""
    losses, accuracies = [m[split].loss for m in metrics], [m[split].accuracy for m in metrics]
    found = curve(weights, losses, accuracies, middle[split])
    return replace(found, greatest_rise=greatest_rise(losses)) if path else found
