"""Samples for kernels (docs/science.md, 13): drawn by a seed, of classes equally many of each."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from nid_cli.data.file import UNCOUNTED
from nid_cli.data.tensors import Data, Split
from nid_cli.errors import UsageError


@dataclass(frozen=True)
class Samples:
    """``inputs`` (N x \\*shape) are prepared, in float64 where they are no whole numbers.

    ``counted`` (N x T, bool): which positions count, of data that ask for a class at each of T; None for others.
    ``labels``: whether their outputs answer one question each, so that the sign of an output is the answer.
    """

    inputs: Tensor
    counted: Tensor | None = None
    labels: bool = False

    def __len__(self) -> int:
        return len(self.inputs)


def draw_samples(data: Data, split: str, samples: int, seed: int) -> Samples:
    """``samples`` of one split, the same for the same seed; where each has a class, equally many of each class.

    Raises:
        UsageError: see :func:`check_samples`.
    """
    check_samples(data, split, samples)
    part = data.split(split)
    order = torch.randperm(len(part), generator=torch.Generator().manual_seed(seed))
    chosen = _balanced(part.targets.cpu(), order, samples) if _of_classes(part) else order[:samples]
    chosen = chosen.sort().values.to(part.inputs.device)
    own = part.take(chosen)
    inputs = data.prepare(own.inputs)
    by_position = own.targets.ndim == 2 and not own.targets.is_floating_point()
    return Samples(
        inputs.double() if inputs.is_floating_point() else inputs,
        counted=own.targets != UNCOUNTED if by_position else None,
        labels=own.targets.is_floating_point(),
    )


def check_samples(data: Data, split: str, samples: int) -> None:
    """Refuses numbers of samples that cannot be drawn.

    Raises:
        UsageError: the split has fewer, or they cannot be equally many of each class.
    """
    part = data.split(split)
    classes, fewest = 1, len(part)
    if _of_classes(part) and len(part):
        found, counts = part.targets.unique(return_counts=True)
        classes, fewest = len(found), int(counts.min())
    if samples > len(part):
        raise UsageError(
            f"the {split} split has {len(part)} samples, fewer than {samples}",
            f"--samples {max(classes * fewest, 1)} at most",
        )
    each, rest = divmod(samples, classes)
    if rest or each > fewest:
        near = classes * max(1, min(round(samples / classes), fewest))
        why = f"of the {split} split's rarest there are {fewest}" if not rest else f"{samples} is no multiple of them"
        raise UsageError(
            f"{samples} samples cannot be equally many of each of {classes} classes: {why}", f"--samples {near}"
        )


def _of_classes(part: Split) -> bool:
    """Whether each sample has one class."""
    return part.targets.ndim == 1 and not part.targets.is_floating_point()


def _balanced(targets: Tensor, order: Tensor, samples: int) -> Tensor:
    """The first of each class in this order, equally many."""
    classes = targets.unique().tolist()
    return torch.cat([order[targets[order] == own][: samples // len(classes)] for own in classes])
