"""The batches of one epoch of training: their order and augmentation follow from a seed and the epoch alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from nid_cli.data.augment import draw_moves, moved
from nid_cli.data.tensors import Data
from nid_cli.nets.graph import Graph
from nid_cli.specs import RunSpec, derive_seed
from nid_cli.training.optimizer import learning_rate


@dataclass(frozen=True)
class Batch:
    """Prepared inputs and targets of one step, of several models one model after another, and its learning rate."""

    inputs: Tensor
    targets: Tensor
    learning_rate: float


def batches_of(graph: Graph, spec: RunSpec, data: Data, order_seeds: Sequence[int], epoch: int) -> Iterator[Batch]:
    """The steps of an epoch, for one model or several: each sees the batches of its own seed, as it would alone."""
    count, device = len(data.train), data.train.inputs.device
    orders = torch.stack([torch.randperm(count, generator=_dice(seed, "epoch", epoch)) for seed in order_seeds])
    steps = orders.to(device).split(spec.batch_size, dim=1)
    sizes = [index.shape[1] for index in steps]
    moves = _moves(sizes, order_seeds, epoch).to(device).split(sizes, dim=2) if data.augmented else None
    for step, index in enumerate(steps):
        if graph.statistics and sizes[step] == 1 < count:
            continue  # a last batch of one sample has no batch statistics
        batch = data.train.take(index.flatten())
        inputs = batch.inputs if moves is None else moved(batch.inputs, moves[step].flatten(1))
        rate = learning_rate(spec.optimizer, spec.length, epoch, step, len(steps))
        yield Batch(data.prepare(inputs), batch.targets, rate)


def _dice(seed: int, purpose: str, epoch: int) -> Generator:
    return Generator().manual_seed(derive_seed(seed, purpose, epoch))


def _moves(sizes: Sequence[int], order_seeds: Sequence[int], epoch: int) -> Tensor:
    """How the images of each model move (3 x models x samples), drawn batch by batch."""
    noises = [_dice(seed, "augment", epoch) for seed in order_seeds]
    return torch.stack([torch.cat([draw_moves(size, noise) for size in sizes], dim=1) for noise in noises], dim=1)
