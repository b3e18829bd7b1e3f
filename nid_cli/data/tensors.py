"""Data in memory: three splits of tensors, images kept as bytes until a batch is used."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from nid_cli.data.file import UNCOUNTED


@dataclass(frozen=True)
class Split:
    """``inputs`` (N x *shape; bytes, float32 or int64) and ``targets``.

    These are N classes, N x K labels in {0, 1} as float32, or N x T classes, one for each position (-100 does not
    count).
    """

    inputs: Tensor
    targets: Tensor

    def __len__(self) -> int:
        return len(self.inputs)

    def take(self, index: Tensor | slice) -> Split:
        """The samples at ``index``."""
        if isinstance(index, Tensor):
            return Split(self.inputs.index_select(0, index), self.targets.index_select(0, index))
        return Split(self.inputs[index], self.targets[index])


@dataclass(frozen=True)
class Normalization:
    """x -> (x / scale - mean) / std, per channel (one value serves all)."""

    scale: float
    mean: tuple[float, ...]
    std: tuple[float, ...]


@dataclass(frozen=True)
class Data:
    """A data set: its splits, never augmented, and how a batch of raw inputs becomes the network's input.

    ``identity`` says what generated data are; their bits may differ between processors by rounding. ``augmented``:
    whether training is to flip and crop its batches (``data.augment``); nothing else ever does. ``constants``: what
    networks read beside the inputs, the same for all samples (``data.adjacency``). ``dtype``: the floating type of
    prepared inputs, that of the networks which read them.
    """

    train: Split
    val: Split
    test: Split
    normalization: Normalization | None = None
    identity: str | None = None
    augmented: bool = False
    constants: Mapping[str, Tensor] = field(default_factory=dict)
    dtype: torch.dtype = torch.float32

    def split(self, name: str) -> Split:
        """The split called ``train``, ``val`` or ``test``."""
        return {"train": self.train, "val": self.val, "test": self.test}[name]

    def prepare(self, inputs: Tensor) -> Tensor:
        """Raw inputs (bytes or floats) as normalized floats; whole numbers, which name things, as they are."""
        if inputs.dtype == torch.int64:
            return inputs
        if self.normalization is None:
            return inputs.to(self.dtype)
        x = inputs.to(self.dtype, copy=True)
        shape = (-1, *(1 for _ in inputs.shape[2:]))
        mean = torch.tensor(self.normalization.mean, dtype=x.dtype, device=x.device).view(shape)
        std = torch.tensor(self.normalization.std, dtype=x.dtype, device=x.device).view(shape)
        return x.div_(self.normalization.scale).sub_(mean).div_(std)

    def batches(self, split: str, size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Normalized (inputs, targets) of one split, in order, ``size`` samples at a time."""
        part = self.split(split)
        for start in range(0, len(part), size):
            yield self.prepare(part.inputs[start : start + size]), part.targets[start : start + size]

    def to(self, device: torch.device) -> Data:
        """The same data on ``device``."""
        train, val, test = (Split(s.inputs.to(device), s.targets.to(device)) for s in (self.train, self.val, self.test))
        constants = {name: tensor.to(device) for name, tensor in self.constants.items()}
        return replace(self, train=train, val=val, test=test, constants=constants)

    def share_memory(self) -> Data:
        """Moves the tensors into shared memory, so that worker processes read them without a copy."""
        for tensor in self._tensors():
            tensor.share_memory_()
        return self

    def fingerprint(self) -> str:
        """SHA-256 (hex) over splits, their order, dtypes, shapes, the normalization and the constants; of generated
        data over what generates them."""
        if self.identity is not None:
            return hashlib.sha256(self.identity.encode()).hexdigest()
        digest = hashlib.sha256(repr(self.normalization).encode())
        for name in sorted(self.constants):
            digest.update(name.encode())
        for tensor in self._tensors():
            digest.update(f"{tensor.dtype} {tuple(tensor.shape)}".encode())
            digest.update(tensor.cpu().contiguous().numpy().data)
        return digest.hexdigest()

    def _tensors(self) -> Iterator[Tensor]:
        """Those of the splits in their order, then the constants by name."""
        for part in (self.train, self.val, self.test):
            yield part.inputs
            yield part.targets
        for name in sorted(self.constants):
            yield self.constants[name]


@dataclass(frozen=True)
class RawData:
    """What a loader returns: the whole training set (before the validation split), the test set, the normalization.

    ``generator`` names the version of what generates the data; None for data that are read. ``val``: the validation
    split, where the data come with one. ``augmented`` and ``constants``: see Data.
    """

    train: Split
    test: Split
    normalization: Normalization | None = None
    generator: int | str | None = None
    augmented: bool = False
    val: Split | None = None
    constants: Mapping[str, Tensor] = field(default_factory=dict)


def split_nodes(inputs: Tensor, classes: Tensor, parts: Sequence[Tensor]) -> list[Split]:
    """One split for each set of nodes in ``parts``: the whole graph as one sample, other nodes' classes uncounted.

    Args:
        inputs: nodes x features. classes: one for each node.
    """
    splits = []
    for part in parts:
        targets = torch.full_like(classes, UNCOUNTED)
        targets[part] = classes[part]
        splits.append(Split(inputs.unsqueeze(0), targets.unsqueeze(0)))
    return splits


def split_validation(whole: Split, share: float = 0.1, seed: int = 42) -> tuple[Split, Split]:
    """(train, validation) as torch's ``random_split`` with a seeded generator draws them (docs/science.md, 2)."""
    order = torch.randperm(len(whole), generator=torch.Generator().manual_seed(seed))
    cut = len(whole) - int(share * len(whole))
    return whole.take(order[:cut]), whole.take(order[cut:])
