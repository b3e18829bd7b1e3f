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

    One pass: each batch is normalized by its own statistics, as in training, and all batches pool, as do all calls
    that share their statistics. Those of instance norms are the means of the statistics of single samples, as torch
    defines them. A network without running statistics is returned as it is.

    Raises:
        UsageError: there are too few samples for a variance.
    """
    # Training mode updates the running statistics that it is given: these are thrown away.
    fresh = dict(state) | {name: state[name].clone() for name in graph.running}
    if not graph.running:
        return fresh
    sums = {name: torch.zeros_like(state[name], dtype=torch.float64) for name in graph.running}
    counts = dict.fromkeys(graph.statistics.values(), 0)
    by_sample = {graph.statistics[call.name] for call in graph.calls if call.function == "instance_norm.default"}

    def observe(call: Call, x: Tensor) -> None:
        if call.name not in graph.statistics:
            return
        pair = mean, variance = graph.statistics[call.name]
        if pair in by_sample:
            pixels = x.double().flatten(2)
            counts[pair] += len(x)
            sums[mean] += pixels.mean(2).sum(0)
            sums[variance] += pixels.var(2).sum(0)
        else:
            samples = x.transpose(0, 1).flatten(1)
            counts[pair] += samples.shape[1]
            sums[mean] += samples.sum(1, dtype=torch.float64)
            sums[variance] += samples.double().square().sum(1)

    for x, _ in data.batches("train", BATCH):
        # One sample has no batch statistics, but the one graph of a data set has them over its nodes.
        if len(x) > 1 or (graph.by_position and len(data.train) == 1):
            record(graph, fresh, {INPUT: x}, (graph.output,), training=True, observe=observe)
    for pair, count in counts.items():
        if count < 2:
            raise UsageError("one training sample has no statistics to reset batch norms with", "take more samples")
        first, second = (sums[name] / count for name in pair)
        variance = second if pair in by_sample else (second - first.square()).clamp_min(0) * count / (count - 1)
        fresh |= {name: own.to(state[name].dtype) for name, own in zip(pair, (first, variance), strict=True)}
    return fresh
