"""What torch's trace knows of a value: its shape in multiples of the samples, and the memory that it lies in."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, fx

from nid_cli.errors import UsageError
from nid_cli.nets.calls import Batch, Shape

# In graphs that torch made functional, a batch norm in evaluation; the first of its values is the one of batch_norm.
LEGACY_BATCH_NORM = "_native_batch_norm_legit_no_training.default"


def size_of(size: int | torch.SymInt) -> int | Batch:
    """A traced size: a number, or a multiple of the samples. UsageError where it is neither."""
    if isinstance(size, int):
        return size
    expression = size.node.expr
    if expression.is_Integer:
        return int(expression)
    symbols = expression.free_symbols
    if len(symbols) == 1:
        times = expression / next(iter(symbols))
        if times.is_Integer and int(times) > 0:
            return Batch(int(times))
    raise UsageError(
        f"a size in the network is {expression}, which is no whole number times the number of samples",
        "nid runs networks on any number of samples: no size may depend on them, or on the data, in another way",
    )


def values_of(node: fx.Node) -> Any:
    """The shape of a traced call's value, or the shapes of its several values."""
    value = node.meta["val"]
    if isinstance(value, Tensor):
        return _shape(value)
    target = getattr(node.target, "__name__", "")
    if target in (LEGACY_BATCH_NORM, "native_dropout.default"):
        return _shape(value[0])
    return tuple(_shape(part) for part in value)


def _shape(value: Tensor) -> Shape:
    shape = tuple(size_of(size) for size in value.shape)
    if sum(isinstance(size, Batch) for size in shape) > 1:
        raise UsageError("the network compares its samples with one another", "nid takes networks sample by sample")
    return shape


def geometry(value: Tensor) -> tuple[str, ...]:
    """Which numbers of which memory a traced tensor is: equal for two names of one value."""
    place = value.untyped_storage()._cdata
    return (str(place), str(value.dtype), str(value.shape), str(value.stride()), str(value.storage_offset()))
