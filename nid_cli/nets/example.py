"""Random inputs of a network."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from nid_cli.nets.calls import Batch
from nid_cli.nets.description import Input

# Samples of an example: torch treats 0 and 1 as special, and 2 is a likely size of other axes.
SAMPLES = 3


def example(inputs: Sequence[Input], samples: int = SAMPLES, seed: int = 0) -> tuple[Tensor, ...]:
    """One tensor an input: standard normal numbers, or whole numbers below the vocabulary."""
    generator = torch.Generator().manual_seed(seed)

    def one(given: Input) -> Tensor:
        shape = [samples * size.times if isinstance(size, Batch) else size for size in given.shape]
        if given.vocabulary is not None:
            return torch.randint(given.vocabulary, shape, generator=generator)
        return torch.randn(shape, generator=generator)

    return tuple(one(given) for given in inputs)
