"""Statistics of batch norms, estimated anew for an interpolated network (Jordan et al. 2023; docs/science.md, 3)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from nid_cli.data.tensors import Data
from nid_cli.errors import UsageError
from nid_cli.nets.calls import Call
from nid_cli.nets.functional import State, record
from nid_cli.nets.graph import INPUT, Graph

# Samples that are normalized together. Part of the definition: statistics of later norms depend on it a little.
BATCH = 256


@torch.no_grad()
def reset_statistics(graph: Graph, state: Mapping[str, Tensor], data: Data) -> State:
    """The state with mean and (unbiased) variance of each batch norm's inputs over the un-augmented training set.

    One pass: each batch is normalized by its own statistics, as in training, and all batches pool. A network without
    batch norms is returned as it is.

    Raises:
        UsageError: there are too few samples for a variance.
    """
    # Training mode updates the running statistics that it is given: these are thrown away.
    running = [name for pair in graph.statistics.values() for name in pair]
    fresh = dict(state) | {name: state[name].clone() for name in running}
    if not running:
        return fresh
    sums = {name: torch.zeros_like(state[name], dtype=torch.float64) for name in running}
    counts = dict.fromkeys(graph.statistics, 0)

    def observe(call: Call, x: Tensor) -> None:
        if call.name in counts:
            mean, variance = graph.statistics[call.name]
            samples = x.transpose(0, 1).flatten(1)
            counts[call.name] += samples.shape[1]
            sums[mean] += samples.sum(1, dtype=torch.float64)
            sums[variance] += samples.double().square().sum(1)

    for x, _ in data.batches("train", BATCH):
        if len(x) > 1:  # one sample has no batch statistics
            record(graph, fresh, {INPUT: x}, (graph.output,), training=True, observe=observe)
    for name, count in counts.items():
        if count < 2:
            raise UsageError("one training sample has no statistics to reset batch norms with", "take more samples")
        first, second = graph.statistics[name]
        mean = sums[first] / count
        variance = (sums[second] / count - mean.square()).clamp_min(0) * count / (count - 1)
        fresh[first], fresh[second] = mean.float(), variance.float()
    return fresh
