"""Steps of training beside the same by hand: ``python tests/benchmarks/steps.py [--rounds 7]``.

Each round times one epoch of a training by ``nid_cli.training.train_model`` (w, its fixed entries written back) and the
same epoch by a loop over the module with torch's fused AdamW, in turn, on one thread; the median of the rounds'
ratios counts. The last column is what the machine did besides.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models import resnet18

from nid_cli.data.tensors import Data, Split
from nid_cli.graphs import graph_of
from nid_cli.nets.calls import Batch
from nid_cli.nets.description import Input
from nid_cli.nets.export import export
from nid_cli.nets.graph import Graph
from nid_cli.nets.symmetry import constraint, draw_fixed, initial_state, rule_of
from nid_cli.recipes import resolve
from nid_cli.specs import RunSpec
from nid_cli.training.loop import Snapshot, train_model

Way = Callable[[], float]


class Block(nn.Module):
    """Pre-norm attention and hidden units, as anyone would write them."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads, self.norm1, self.norm2 = heads, nn.LayerNorm(width), nn.LayerNorm(width)
        self.query, self.key, self.value, self.output = (nn.Linear(width, width) for _ in range(4))
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        h = self.norm1(x)
        q, k, v = (
            part(h).unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in (self.query, self.key, self.value)
        )
        x = x + self.output(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))
        return x + self.mlp(self.norm2(x))


class Vit(nn.Module):
    """The vision transformer of the recipe for digits."""

    def __init__(self, width: int = 64, heads: int = 4, depth: int = 2) -> None:
        super().__init__()
        self.patches, self.positions = nn.Conv2d(1, width, 2, 2), nn.Parameter(torch.randn(16, width) / 50)
        self.blocks = nn.Sequential(*(Block(width, heads) for _ in range(depth)))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2) + self.positions
        return self.head(self.norm(self.blocks(x)).mean(1))


def by_hand(module: nn.Module, inputs: Tensor, targets: Tensor, batch: int, clip: float | None) -> Way:
    """One epoch over all samples; returns its seconds."""
    optimizer = torch.optim.AdamW(module.parameters(), lr=1e-3, weight_decay=0.01, fused=True)

    def epoch() -> float:
        module.train()
        began = time.perf_counter()
        for index in torch.randperm(len(inputs)).split(batch):
            optimizer.zero_grad()
            F.cross_entropy(module(inputs[index]), targets[index]).backward()
            if clip is not None:
                torch.nn.utils.clip_grad_norm_(module.parameters(), clip)
            optimizer.step()
        return time.perf_counter() - began

    return epoch


def by_nid(graph: Graph, spec: RunSpec, state: dict[str, Tensor], inputs: Tensor, targets: Tensor) -> Way:
    """The same, by the loop that ``nid train`` runs; the splits that it evaluates are one sample each."""
    one = Split(inputs[:1], targets[:1])
    data = Data(Split(inputs, targets), one, one)
    rule = rule_of(spec.symmetry.name)
    fixed = draw_fixed(rule, graph, spec.symmetry.num_fixed, 1)
    kept = constraint(rule, graph, fixed, spec.symmetry.kappa)
    events = train_model(graph, spec, data, kept, {}, Snapshot(0, state), 1)
    next(events)
    return lambda: next(events).seconds


def vit_on_digits() -> tuple[Way, Way]:
    """1,437 pictures of 8 x 8 in batches of 64."""
    spec, _ = resolve({"arch": "vit", "symmetry": "w", "epochs": 1000})
    graph = graph_of(spec)
    state = initial_state(rule_of("standard"), graph, {}, None, 1)
    inputs, targets = torch.randn(1437, 1, 8, 8), torch.randint(10, (1437,))
    return by_hand(Vit(), inputs, targets, 64, 1.0), by_nid(graph, spec, state, inputs, targets)


def resnet18_on_small_pictures() -> tuple[Way, Way]:
    """256 pictures of 3 x 32 x 32 in batches of 64."""
    module = resnet18(weights=None, num_classes=10)
    found = export(module, [Input("x", (Batch(), 3, 32, 32))])
    graph = Graph(found.description)
    spec, _ = resolve({"symmetry": "w", "epochs": 1000})
    counts = tuple(layer.fan_in // 8 for layer in graph.weighted)
    object.__setattr__(spec.symmetry, "num_fixed", counts)
    object.__setattr__(spec.symmetry, "kappa", (1.0,) * len(counts))
    inputs, targets = torch.randn(256, 3, 32, 32), torch.randint(10, (256,))
    state = {name: tensor.clone() for name, tensor in found.state.items()}
    return by_hand(module, inputs, targets, 64, None), by_nid(graph, spec, state, inputs, targets)


NETWORKS = {"vit/digits": vit_on_digits, "resnet18": resnet18_on_small_pictures}


def main() -> None:
    """Prints a row for each network."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    given = parser.parse_args()
    torch.set_num_threads(1)
    print("network\tby hand (s)\tnid (s)\tratio\tload")
    for name, make in NETWORKS.items():
        hand, own = make()
        hand(), own()  # what is compiled and allocated once
        rounds = [(hand(), own()) for _ in range(given.rounds)]
        ratio = statistics.median(b / a for a, b in rounds)
        medians = (f"{statistics.median(taken):.3f}" for taken in zip(*rounds, strict=True))
        print("\t".join((name, *medians, f"{ratio:.3f}", f"{os.getloadavg()[0]:.1f}")), flush=True)


if __name__ == "__main__":
    main()
