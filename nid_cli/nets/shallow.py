"""Tracing faster: shapes that are plain are told to torch.

While ``torch.export`` traces, torch finds the shape of a value by taking many functions apart into simple ones, dozens
of calls each; in deep networks that is most of the time. Here the shapes of norms, activations and concatenations are
told at once. A version of torch that looks elsewhere for shapes traces as it did.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor

# Values like the first argument, where that is of floating-point numbers.
_ALIKE = (
    "silu gelu hardswish hardsigmoid hardtanh elu leaky_relu mish softplus sigmoid tanh relu exp sqrt rsqrt neg sin cos"
)


def _batch_norm(x: Tensor, *_: Any, **__: Any) -> tuple[Tensor, ...]:
    return torch.empty_like(x), x.new_empty(0), x.new_empty(0)


def _alike(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def shaped(x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        return torch.empty_like(x) if x.is_floating_point() else function(x, *args, **kwargs)

    return shaped


def _cat(otherwise: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def shaped(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
        first = tensors[0]
        if any(tensor.ndim != first.ndim or tensor.dtype != first.dtype for tensor in tensors):
            return otherwise(tensors, dim)
        shape = list(first.shape)
        shape[dim] = sum(tensor.shape[dim] for tensor in tensors)
        return first.new_empty(shape)

    return shaped


@contextmanager
def told_at_once() -> Iterator[None]:
    """Plain shapes are told, not derived."""
    from torch._decomp import decomposition_table

    aten = torch.ops.aten
    told: dict[Any, Callable[..., Any]] = {}
    named = [getattr(aten, name).default for name in _ALIKE.split()]
    told |= {function: _alike(decomposition_table[function]) for function in named if function in decomposition_table}
    if (cat := aten.cat.default) in decomposition_table:
        told[cat] = _cat(decomposition_table[cat])
    told[aten._native_batch_norm_legit_no_training.default] = _batch_norm
    with patch.dict(decomposition_table, told):
        yield
