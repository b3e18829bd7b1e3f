"""Networks of plain torch modules, taken in, away from their initialization: for planted permutations."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torchvision.models as zoo
from torch import Tensor, nn

from nid_cli.analysis.batch_norm import reset_statistics
from nid_cli.data.tensors import Data, Split
from nid_cli.nets.calls import Batch
from nid_cli.nets.description import Input
from nid_cli.nets.example import example
from nid_cli.nets.export import export
from nid_cli.nets.functional import State
from nid_cli.nets.graph import Graph
from nid_cli.nets.permutation import Permutation, permute, random
from tests.nets.modules import TOKENS, Gpt

PICTURES = (Input("x", (Batch(), 3, 32, 32)),)
ROWS = (Input("x", (Batch(), 12)),)


class Residual(nn.Module):
    """x + W2 relu(W1 x), twice, on a stream that a layer opens and another closes."""

    def __init__(self, width: int = 30, hidden: int = 50) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(12, width), nn.Linear(width, 5)
        self.down = nn.ModuleList(nn.Linear(width, hidden) for _ in range(2))
        self.up = nn.ModuleList(nn.Linear(hidden, width) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        for down, up in zip(self.down, self.up, strict=True):
            x = x + up(torch.relu(down(x)))
        return self.last(x)


class Square(nn.Module):
    """x + relu(W x): the stream is on both axes of W."""

    def __init__(self, width: int = 20) -> None:
        super().__init__()
        self.first, self.inner, self.last = nn.Linear(12, width), nn.Linear(width, width), nn.Linear(width, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        x = x + torch.relu(self.inner(x))
        return self.last(x + torch.tanh(self.inner(x)))


class Mixer(nn.Module):
    """One block of an MLP-Mixer: hidden neurons over tokens, and over channels."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.head = nn.Conv2d(3, 12, 8, 8), nn.Linear(12, 5)
        self.norms = nn.ModuleList(nn.LayerNorm(12) for _ in range(3))
        self.tokens = nn.Sequential(nn.Linear(16, 10), nn.GELU(), nn.Linear(10, 16))
        self.channels = nn.Sequential(nn.Linear(12, 24), nn.GELU(), nn.Linear(24, 12))

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x).flatten(2).transpose(1, 2)
        x = x + self.tokens(self.norms[0](x).transpose(1, 2)).transpose(1, 2)
        x = x + self.channels(self.norms[1](x))
        return self.head(self.norms[2](x).mean(1))


def _resnext() -> nn.Module:
    return zoo.ResNet(zoo.resnet.Bottleneck, [1, 1, 1, 1], num_classes=5, groups=4, width_per_group=8)


MODULES: dict[str, tuple[Callable[[], nn.Module], Sequence[Input]]] = {
    "residual": (Residual, ROWS),
    "square": (Square, ROWS),
    "resnet18": (lambda: zoo.resnet18(weights=None), PICTURES),
    "vit": (lambda: zoo.VisionTransformer(32, 16, 2, 3, 24, 40), PICTURES),
    "gpt": (Gpt, TOKENS),
    "mixer": (Mixer, PICTURES),
    "densenet": (lambda: zoo.DenseNet(4, (2, 2), 8, bn_size=2, num_classes=5), PICTURES),
    "resnext": (_resnext, PICTURES),
}


def network(name: str, seed: int = 0) -> tuple[Graph, State]:
    """A network whose norms and biases are random too, with statistics that fit :func:`data_of`."""
    build, inputs = MODULES[name]
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(seed)
        module = build()
        for own, tensor in module.state_dict().items():
            if tensor.ndim < 2 and tensor.is_floating_point():
                tensor.copy_(torch.rand(tensor.shape) + 0.5 if "bias" not in own else torch.randn(tensor.shape) / 2)
    found = export(module, inputs)
    graph = Graph(found.description)
    return graph, reset_statistics(graph, found.state, data_of(graph))


class Given(Data):
    """Inputs as they are: tokens stay whole numbers."""

    def prepare(self, inputs: Tensor) -> Tensor:
        return inputs


def data_of(graph: Graph, count: int = 60) -> Data:
    """Random samples, all of them in each split."""
    [x] = example(graph.description.inputs, count)
    part = Split(x, torch.randint(graph.outputs, (count,), generator=torch.Generator().manual_seed(0)))
    return Given(part, part, part)


def planted(graph: Graph, state: State, seed: int, noise: float = 0.0) -> tuple[Permutation, State]:
    """A random permutation and the network under it; ``noise``: added to trained tensors, in shares of their spread."""
    generator = torch.Generator().manual_seed(seed)
    permutation = random(graph.spaces, generator)
    moved = permute(graph.symmetries.axes, state, permutation)
    for name in graph.parameters if noise else ():
        own = moved[name]
        moved[name] = own + noise * own.square().mean().sqrt() * torch.randn(own.shape, generator=generator)
    return permutation, moved
