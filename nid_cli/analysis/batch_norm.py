"""Running statistics of batch norms, estimated anew for an interpolated network (the reset of REPAIR; section 3)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from nid_cli.data.tensors import Data
from nid_cli.nets.functional import State, record
from nid_cli.nets.graph import INPUT, Graph

BATCH = 1024


@torch.no_grad()
def reset_statistics(graph: Graph, state: Mapping[str, Tensor], data: Data) -> State:
    """The state with the mean and the variance of each batch norm's inputs over the un-augmented training set.

    One pass: each batch is normalized by its own statistics, as in training, and all batches pool. A network without
    batch norms is returned as it is.
    """
    # Training mode updates the running statistics that it is given: these are thrown away.
    fresh = dict(state) | {name: state[name].clone() for name in graph.buffers}
    sources = {op.name: op.inputs[0] for op in graph.ops if f"{op.name}.running_mean" in graph.buffers}
    if not sources:
        return fresh
    width = sum(graph.sizes[source] for source in sources.values())
    zeros = {name: torch.zeros_like(state[name], dtype=torch.float64) for name in graph.buffers}
    counts = dict.fromkeys(sources, 0)
    for x, _ in data.batches("train", graph.batch(BATCH, width, *graph.sizes.values())):
        if len(x) == 1:
            continue  # one sample has no batch statistics
        values = record(graph, fresh, {INPUT: x}, set(sources.values()), training=True)
        for name, source in sources.items():
            samples = values[source].transpose(0, 1).flatten(1).double()
            counts[name] += samples.shape[1]
            zeros[f"{name}.running_mean"] += samples.sum(1)
            zeros[f"{name}.running_var"] += samples.square().sum(1)
    for name, count in counts.items():
        mean = zeros[f"{name}.running_mean"] / count
        variance = (zeros[f"{name}.running_var"] / count - mean.square()).clamp_min(0) * count / (count - 1)
        fresh[f"{name}.running_mean"], fresh[f"{name}.running_var"] = mean.float(), variance.float()
    return fresh
