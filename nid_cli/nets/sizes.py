"""How much a sample is: the numbers of a value for each sample."""

from __future__ import annotations

import math

from nid_cli.nets.calls import Batch, Shape


def numbers(shape: Shape | tuple[Shape, ...] | None) -> int:
    """Numbers for each sample in a value of this shape, or in several values together; 1 for a size."""
    if shape is None:
        return 1
    if shape and isinstance(shape[0], tuple):
        return sum(numbers(part) for part in shape)
    return math.prod(size.times if isinstance(size, Batch) else size for size in shape)  # type: ignore[misc]
