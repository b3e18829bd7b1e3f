"""Statistics of batch norms, estimated anew for an interpolated network (Jordan et al. 2023; docs/science.md, 3)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from nid_cli.data.tensors import Data
from nid_cli.errors import UsageError
from nid_cli.nets.functional import State, record
from nid_cli.nets.graph import INPUT, Graph, Op

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
    fresh = dict(state) | {name: state[name].clone() for name in graph.buffers}
    if not graph.buffers:
        return fresh
    sums = {name: torch.zeros_like(state[name], dtype=torch.float64) for name in graph.buffers}
    counts = {op.name: 0 for op in graph.ops if f"{op.name}.running_mean" in graph.buffers}

    def observe(op: Op, x: Tensor) -> None:
        if op.name in counts:
            samples = x.transpose(0, 1).flatten(1)
            counts[op.name] += samples.shape[1]
            sums[f"{op.name}.running_mean"] += samples.sum(1, dtype=torch.float64)
            sums[f"{op.name}.running_var"] += samples.double().square().sum(1)

    for x, _ in data.batches("train", BATCH):
        if len(x) > 1:  # one sample has no batch statistics
            record(graph, fresh, {INPUT: x}, (graph.output.name,), training=True, observe=observe)
    for name, count in counts.items():
        if count < 2:
            raise UsageError("one training sample has no statistics to reset batch norms with", "take more samples")
        mean = sums[f"{name}.running_mean"] / count
        variance = (sums[f"{name}.running_var"] / count - mean.square()).clamp_min(0) * count / (count - 1)
        fresh[f"{name}.running_mean"], fresh[f"{name}.running_var"] = mean.float(), variance.float()
    return fresh
