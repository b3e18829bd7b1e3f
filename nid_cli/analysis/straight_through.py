"""Learning a permutation by the loss it leads to: the straight-through estimator of Ainsworth et al. 2023
(docs/science.md, 5)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor

from nid_cli.analysis.batch_norm import reset_statistics
from nid_cli.analysis.lmc import interpolate
from nid_cli.analysis.weight_matching import match_weights, match_weights_from
from nid_cli.data.tensors import Data
from nid_cli.metrics import evaluate, loss_of
from nid_cli.nets.functional import State, forward
from nid_cli.nets.graph import Graph
from nid_cli.nets.permutation import Permutation, equal, permute
from nid_cli.specs import derive_seed
from nid_cli.specs.alignments import ByLearning


@dataclass(frozen=True)
class Learned:
    """After one step: the loss of the midpoint that was stepped on, the free weights, and their nearest permutation.

    ``free`` holds the tensors themselves, which go on changing with the next step.
    """

    loss: float
    free: Mapping[str, Tensor]
    permutation: Permutation


def align_by_learning(
    graph: Graph, a: Mapping[str, Tensor], b: Mapping[str, Tensor], data: Data, parameters: ByLearning
) -> Permutation:
    """The alignment ``learned`` of ``specs.ALIGNMENTS``: of the permutations on the way the one whose midpoint with A
    has the least loss on the training split. Weight matching's is the first, so none is returned that is worse."""
    best = match_weights(graph, a, b, parameters.restarts, parameters.seed).permutation
    lowest, tried = midpoint_loss(graph, a, b, data, best, parameters.bn_reset), [best]
    for step, own in enumerate(learn(graph, a, b, data, best, parameters), 1):
        if step % parameters.judged_every and step != parameters.learn_steps:
            continue
        if any(equal(own.permutation, other) for other in tried):
            continue
        tried.append(own.permutation)
        loss = midpoint_loss(graph, a, b, data, own.permutation, parameters.bn_reset)
        if loss < lowest:
            best, lowest = own.permutation, loss
    return best


def learn(
    graph: Graph,
    a: Mapping[str, Tensor],
    b: Mapping[str, Tensor],
    data: Data,
    start: Permutation,
    parameters: ByLearning,
) -> Iterator[Learned]:
    """Steps of SGD on free weights, which begin as A's.

    The loss is that of the midpoint between A and the permuted B that is nearest to the free weights, on a batch of the
    training split; its gradient with respect to the permuted B moves the free weights as if they were it. A network
    with running statistics runs as in training: its norms take the batch's statistics.

    Args:
        start: the permutation nearest to A. It ends early where the loss or a weight is no finite number any more.
    """
    free = {name: a[name].detach().clone() for name in graph.parameters}
    velocity = {name: torch.zeros_like(own) for name, own in free.items()}
    permutation = start
    permuted = permute(graph.symmetries.axes, b, permutation)
    for step, index in enumerate(_batches(graph, data, parameters), 1):
        batch = data.train.take(index)
        middle = interpolate(graph, a, permuted, 0.5)
        loss, gradients = _gradients(
            graph, middle, data.prepare(batch.inputs), batch.targets, derive_seed(parameters.seed, "dropout", step)
        )
        for name, own in free.items():
            # Half of the midpoint is the permuted B.
            velocity[name].mul_(parameters.momentum).add_(gradients[name], alpha=0.5)
            own.sub_(velocity[name], alpha=parameters.learning_rate)
        if not (math.isfinite(loss) and all(bool(own.isfinite().all()) for own in free.values())):
            return
        found = match_weights_from(graph, free, b, permutation, derive_seed(parameters.seed, "order", step)).permutation
        if not equal(found, permutation):
            permutation = found
            permuted = permute(graph.symmetries.axes, b, permutation)
        yield Learned(loss, free, permutation)


def midpoint_loss(
    graph: Graph,
    a: Mapping[str, Tensor],
    b: Mapping[str, Tensor],
    data: Data,
    permutation: Permutation,
    reset: bool = False,
) -> float:
    """The training loss of the midpoint of A and the permuted B, as ``nid lmc`` measures it.

    Args:
        reset: with the statistics of batch norms estimated anew.
    """
    with torch.no_grad():
        middle = interpolate(graph, a, permute(graph.symmetries.axes, b, permutation), 0.5)
    return evaluate(graph, reset_statistics(graph, middle, data) if reset else middle, data, "train").loss


def _gradients(graph: Graph, state: State, x: Tensor, targets: Tensor, seed: int) -> tuple[float, dict[str, Tensor]]:
    """The loss of a network on a batch, and its gradient for each parameter."""
    training = bool(graph.running) and (len(x) > 1 or graph.by_position)
    leaves = {name: state[name].detach().requires_grad_() for name in graph.parameters}
    devices = [x.device] if x.device.type == "cuda" else []
    with torch.enable_grad(), torch.random.fork_rng(devices) if training and graph.drops else nullcontext():
        if training and graph.drops:
            torch.manual_seed(seed)
        loss = loss_of(forward(graph, state | leaves, x, training), targets)
        found = torch.autograd.grad(loss, list(leaves.values()), allow_unused=True)
    pairs = zip(leaves.items(), found, strict=True)
    return loss.item(), {name: torch.zeros_like(own) if got is None else got for (name, own), got in pairs}


def _batches(graph: Graph, data: Data, parameters: ByLearning) -> Iterator[Tensor]:
    """The samples of each step, on the data's device: whole batches of the training split, in a new order each time
    that it is through; what is left over is passed over."""
    count, device = len(data.train), data.train.inputs.device
    size = min(graph.batch(parameters.batch_size), count)
    each = count // size
    for step in range(parameters.learn_steps):
        epoch, place = divmod(step, each)
        if place == 0:
            dice = torch.Generator().manual_seed(derive_seed(parameters.seed, "batches", epoch))
            order = torch.randperm(count, generator=dice).to(device)
        yield order[place * size : (place + 1) * size]
