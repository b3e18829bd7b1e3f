"""Networks of a user's own: a file of code, their checkpoints, and data that fit them."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import torch

CODE = '''
import torch
from torch import nn


class Conv(nn.Module):
    """A convolution, a residual block with batch norms, a constant, a linear layer."""

    def __init__(self, width=6, classes=10):
        super().__init__()
        self.stem = nn.Conv2d(1, width, 3, padding=1)
        self.conv1 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.head = nn.Linear(width, classes)
        self.register_buffer("scale", torch.tensor([2.0]), persistent=False)

    def forward(self, x):
        x = torch.relu(self.stem(x)) * self.scale
        x = torch.relu(x + self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x))))))
        return self.head(x.mean((2, 3)))


class Vit(nn.Module):
    """One layer of attention over four patches."""

    def __init__(self, d=8):
        super().__init__()
        self.patch = nn.Conv2d(1, d, 4, stride=4)
        self.position = nn.Parameter(torch.randn(4, d))
        self.layer = nn.TransformerEncoderLayer(d, 2, 12, batch_first=True, norm_first=True, activation="gelu")
        self.head = nn.Linear(d, 10)

    def forward(self, x):
        return self.head(self.layer(self.patch(x).flatten(2).transpose(1, 2) + self.position).mean(1))


class Tokens(nn.Module):
    """A language model with tied embeddings."""

    def __init__(self, vocabulary=12, d=8):
        super().__init__()
        self.embed = nn.Embedding(vocabulary, d)
        self.layer = nn.TransformerEncoderLayer(d, 2, 16, batch_first=True, activation="gelu")
        self.head = nn.Linear(d, vocabulary, bias=False)
        self.head.weight = self.embed.weight

    def forward(self, x):
        return self.head(self.layer(self.embed(x)))


class Random(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(64, 10)

    def forward(self, x):
        return self.linear(x.flatten(1) + torch.randn_like(x.flatten(1)))


class Pair(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(64, 10)

    def forward(self, x):
        return self.linear(x.flatten(1)), x


class Branching(Pair):
    def forward(self, x):
        x = self.linear(x.flatten(1))
        return x if x.sum() > 0 else -x


class Unknown(Pair):
    def forward(self, x):
        return torch.special.bessel_j0(self.linear(x.flatten(1)))


class Drawn(Pair):
    """A constant that is drawn, and in no state dictionary."""

    def __init__(self):
        super().__init__()
        self.scale = torch.rand(10)

    def forward(self, x):
        return self.linear(x.flatten(1)) * self.scale


class Masked(Pair):
    """A mask that state dictionaries have."""

    def __init__(self, width=64):
        super().__init__()
        self.register_buffer("mask", torch.zeros(64).masked_fill_(torch.arange(64) > 60, float("-inf")))

    def forward(self, x):
        return self.linear((x.flatten(1) + self.mask).softmax(-1))


class Doubled(Pair):
    def forward(self, x):
        x = self.linear(x.flatten(1))
        return torch.cat([x, x])


class Turned(Pair):
    def forward(self, x):
        return self.linear(x.flatten(1)).T


class Output(nn.Module):
    """A layer that is called as coherence calls a network's output."""

    def __init__(self):
        super().__init__()
        self.hidden, self.output = nn.Linear(64, 6), nn.Linear(6, 10)

    def forward(self, x):
        return self.output(torch.tanh(self.hidden(x.flatten(1))))


class Detached(Output):
    """A layer that learns nothing, of which what it computes says nothing."""

    def forward(self, x):
        return self.output(torch.tanh(self.hidden(x.flatten(1))).detach())


class Unwatched(Output):
    def forward(self, x):
        with torch.no_grad():
            x = torch.tanh(self.hidden(x.flatten(1)))
        return self.output(x)


class Overwritten(Output):
    """What the backward pass needs is overwritten, so torch cannot train it."""

    def forward(self, x):
        return self.output(torch.tanh(self.hidden(x.flatten(1))).mul_(2.0))


class Regular(nn.Module):
    """Dropout, a batch norm, a frozen layer, one that nothing calls, and one that is called twice."""

    def __init__(self):
        super().__init__()
        self.hidden, self.norm, self.drop = nn.Linear(64, 6), nn.BatchNorm1d(6), nn.Dropout(0.5)
        self.fixed, self.idle = nn.Linear(6, 6).requires_grad_(False), nn.Linear(2, 2)
        self.twice, self.head = nn.Linear(6, 6), nn.Linear(6, 10)

    def forward(self, x):
        x = self.fixed(self.drop(torch.relu(self.norm(self.hidden(x.flatten(1))))))
        return self.head(torch.tanh(self.twice(torch.tanh(self.twice(x)))))


class Causal(Tokens):
    """A mask of infinities among its buffers."""

    def __init__(self):
        super().__init__()
        self.register_buffer("mask", nn.Transformer.generate_square_subsequent_mask(5))

    def forward(self, x):
        return self.head(self.layer(self.embed(x), src_mask=self.mask))


class Lazy(nn.Module):
    def __init__(self):
        super().__init__()
        self.hidden, self.head = nn.LazyLinear(6), nn.Linear(6, 10)

    def forward(self, x):
        return self.head(torch.relu(self.hidden(x.flatten(1))))


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm, self.head = nn.LSTM(8, 5, batch_first=True), nn.Linear(5, 10)

    def forward(self, x):
        return self.head(self.lstm(x.flatten(1, 2))[0][:, -1])


def frozen():
    return Output().requires_grad_(False)


class Shorter(Tokens):
    def forward(self, x):
        return super().forward(x)[:, 1:]


def nothing():
    return 3


def raising():
    raise RuntimeError("no weights here")
'''


def write_code(folder: Path) -> Path:
    """``nets.py`` in a folder."""
    path = folder / "nets.py"
    path.write_text(CODE)
    return path


def module_of(path: Path) -> ModuleType:
    """The file of code as a module of this process."""
    spec = importlib.util.spec_from_file_location("own_nets", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def save_states(folder: Path, code: ModuleType, name: str, seeds: int = 2) -> list[Path]:
    """State dictionaries of freshly made modules, with running statistics that are not the first ones."""
    paths = []
    for seed in range(seeds):
        torch.manual_seed(seed)
        module = getattr(code, name)()
        for buffer, value in module.state_dict().items():
            if buffer.endswith(("running_mean", "running_var")):
                value.copy_(0.5 + torch.rand(value.shape))
        paths.append(folder / f"{name.lower()}{seed}.pt")
        torch.save(module.state_dict(), paths[-1])
    return paths


def words() -> dict[str, np.ndarray]:
    """Sequences of tokens, a class for each position, the last of which does not count."""
    inputs = np.random.default_rng(0).integers(0, 12, (90, 5))
    targets = (inputs + 1) % 12
    targets[:, -1] = -100
    return {
        "train_inputs": inputs[:60],
        "train_targets": targets[:60],
        "test_inputs": inputs[60:],
        "test_targets": targets[60:],
    }
