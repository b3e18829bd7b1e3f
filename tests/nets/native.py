"""The same networks as plain torch modules, written without ours: names of parameters are those of our graphs."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor, nn

from nid_cli.nets import Graph, build
from nid_cli.specs import Measures, NetworkSpec

IMAGES = Measures((2, 8, 6), 5, "classes")
TOKENS = Measures((7,), 11, "positions", vocabulary=11, positions=7)
ACTIVATIONS = {"gelu": nn.GELU, "relu": nn.ReLU}


def graph_of(arch: str, measures: Measures, gated: bool = False, **own: object) -> Graph:
    """A small network of ours."""
    values = {"width": 12, "depth": 2, "norm": "layer", "activation": "gelu"} | own
    return build(NetworkSpec(arch=arch, **values), measures, gated=gated)  # type: ignore[arg-type]


class Block(nn.Module):
    def __init__(self, width: int, heads: int, activation: str, causal: bool) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = nn.MultiheadAttention(width, heads, batch_first=True)
        layers = {"hidden": nn.Linear(width, 4 * width), "output": nn.Linear(4 * width, width)}
        self.mlp, self.activation, self.causal = nn.ModuleDict(layers), ACTIVATIONS[activation](), causal

    def forward(self, x: Tensor) -> Tensor:
        h, tokens = self.norm1(x), x.shape[1]
        later = torch.ones(tokens, tokens, dtype=torch.bool).triu(1) if self.causal else None
        x = x + self.attention(h, h, h, attn_mask=later, need_weights=True)[0]
        return x + self.mlp["output"](self.activation(self.mlp["hidden"](self.norm2(x))))


class Transformer(nn.Module):
    """A ViT of 2 x 2 patches, or with ``tied`` a GPT."""

    def __init__(self, activation: str = "gelu", tied: bool | None = None, width: int = 12, heads: int = 3) -> None:
        super().__init__()
        self.is_gpt = tied is not None
        self.positions = nn.Embedding(7 if self.is_gpt else 12, width)
        self.blocks = nn.ModuleList(Block(width, heads, activation, self.is_gpt) for _ in range(2))
        self.norm = nn.LayerNorm(width)
        if self.is_gpt:
            self.embedding, self.head = nn.Embedding(11, width), nn.Linear(width, 11, bias=False)
            if tied:
                self.head.weight = self.embedding.weight
        else:
            self.patches, self.head = nn.Conv2d(2, width, 2, 2), nn.Linear(width, 5)

    def forward(self, x: Tensor) -> Tensor:
        if self.is_gpt:
            x = self.embedding(x)
        else:
            patches = [self.patches(x[:, :, i : i + 2, j : j + 2])[:, :, 0, 0] for i in (0, 2, 4, 6) for j in (0, 2, 4)]
            x = torch.stack(patches, 1)
        x = x + self.positions.weight
        for block in self.blocks:
            x = block(x)
        x = self.norm(x)
        return self.head(x if self.is_gpt else x.mean(1))


class Convolutions(nn.Module):
    """A GCN that walks from node to node; A is nodes x nodes."""

    def __init__(self, norm: str, adjacency: Tensor, features: int, width: int, depth: int, outputs: int) -> None:
        super().__init__()
        sizes = [features, *[width] * (depth - 1), outputs]
        self.conv = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(sizes))
        kind = {"layer": nn.LayerNorm, "batch": nn.BatchNorm1d, "none": nn.Identity}[norm]
        self.norm = nn.ModuleList(kind(width) for _ in range(depth - 1))
        self.adjacency = adjacency

    def forward(self, x: Tensor) -> Tensor:
        for i, conv in enumerate(self.conv):
            x = torch.stack([torch.stack([self.gathered(one, node) for node in range(len(one))]) for one in x])
            x = conv(x)
            if i < len(self.norm):
                x = torch.relu(self.norm[i](x.flatten(0, 1)).view(x.shape))
        return x

    def gathered(self, x: Tensor, node: int) -> Tensor:
        found = torch.zeros_like(x[0])
        for other, weight in enumerate(self.adjacency[node]):
            found = found + weight * x[other]
        return found


def by_our_names(module: nn.Module, take: Callable[[nn.Parameter], Tensor]) -> dict[str, Tensor]:
    """What is taken of each parameter, the packed projections of attention apart."""
    found = {}
    for name, parameter in module.named_parameters():
        if "in_proj_" in name:
            parts = zip(("query", "key", "value"), take(parameter).chunk(3), strict=True)
            found |= {name.replace("in_proj_", f"{part}."): own for part, own in parts}
        else:
            found[name.replace("out_proj", "output")] = take(parameter)
    return found


def drawn(module: nn.Module, dtype: torch.dtype = torch.float64) -> dict[str, Tensor]:
    """Random parameters of a module, norms too, by our names: a state."""
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in module.to(dtype).parameters():
            parameter.copy_(torch.randn(parameter.shape) * 0.3 + (parameter.ndim == 1))
    own = by_our_names(module, lambda parameter: parameter.detach())
    return {name: tensor.clone().requires_grad_() for name, tensor in own.items()}


def edges(nodes: int, seed: int = 0) -> tuple[Tensor, dict[str, Tensor]]:
    """A random graph's normalized adjacency as a matrix, and as the constants of its entries in random order."""
    generator = torch.Generator().manual_seed(seed)
    linked = torch.rand(nodes, nodes, generator=generator) < 0.3
    linked = linked | linked.T | torch.eye(nodes, dtype=torch.bool)
    degree = linked.sum(1)
    matrix = torch.zeros(nodes, nodes)
    for i in range(nodes):
        for j in range(nodes):
            matrix[i, j] = linked[i, j] / (degree[i] * degree[j]) ** 0.5
    matrix *= 1 + torch.arange(nodes)[:, None] / nodes  # no longer symmetric: a transposed one is seen
    entries = matrix.nonzero()[torch.randperm(int(linked.sum()), generator=generator)]
    weight = matrix[entries[:, 0], entries[:, 1]]
    return matrix, {"edges.target": entries[:, 0], "edges.source": entries[:, 1], "edges.weight": weight}
