"""The recipes: defaults of each architecture, and what differs of them on some data sets. No torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase
from typing import Any

from nid_cli.nets import Graph

Settings = Mapping[str, Any]

# Epochs between checkpoints.
SAVE_EVERY = 5


def _shares(first: float, hidden: float, last: float) -> Callable[[Graph], list[float]]:
    """num_fixed of an mlp as shares of the fan-in: its first, hidden and last layers."""
    return lambda graph: [first, *[hidden] * (len(graph.weighted) - 2), last]


def _eighths(graph: Graph) -> list[float]:
    """num_fixed of any network: an eighth of the fan-in, one at least, half in the last layer, never more than half."""
    shares = [1 / 8] * (len(graph.weighted) - 1) + [1 / 2]
    counts = [max(1, round(share * op.fan_in)) for share, op in zip(shares, graph.weighted, strict=True)]
    return [min(count, op.fan_in // 2) for count, op in zip(counts, graph.weighted, strict=True)]


def _tenth(epochs: int) -> float:
    """The warm-up: a tenth of the training."""
    return epochs / 10


# num_fixed of a resnet's layers before the factor n_mul (docs/science.md, 2).
_RESNET_FIXED = {
    "stem.conv": 4,
    "stage1.*.conv?": 36,
    "stage2.*.conv?": 54,
    "stage3.*.conv?": 72,
    "stage2.*.shortcut.conv": 6,
    "stage3.*.shortcut.conv": 8,
    "linear": 8,
}
# Wide networks (w = 8) fix three times as many, small ones as many as the table says.
_WIDE = 8 * 16


def _resnet_fixed(graph: Graph) -> list[float]:
    """num_fixed of a resnet by layer, and never more than half of a neuron's weights (a stem of one input channel)."""
    factor = 3.0 if graph.weighted[0].channels >= _WIDE else 1.0
    counts = (next(n for p, n in _RESNET_FIXED.items() if fnmatchcase(op.name, p)) for op in graph.weighted)
    return [min(factor * count, op.fan_in // 2) for op, count in zip(graph.weighted, counts, strict=True)]


# The paper's MLP, to the letter on MNIST (docs/science.md, 2): num_fixed 64, 64, 64, 256 of 784, 512, 512, 512.
_MLP: dict[str, Any] = {
    "width": 512,
    "depth": 4,
    "norm": "layer",
    "activation": "gelu",
    "kappa": 1.0,
    "num_fixed": _shares(1 / 8, 1 / 8, 1 / 2),
    "optimizer": "adamw",
    "lr": 1e-3,
    "weight_decay": 0.01,
    "momentum": 0.0,
    "milestones": (),
    "gamma": 1.0,
    "schedule": "steps",
    "warmup": 0.0,
    "clip": None,
    "heads": None,
    "patch": None,
    "tied": None,
    "spawn_epoch": None,
    "epochs": 100,
    "batch_size": 64,
    "seed": 0,
    "seeds": 2,
    "save_every": SAVE_EVERY,
}

# The paper's ResNet on CIFAR (docs/science.md, 2): the learning rate rises from 1e-4 to 1e-2 in 20 epochs.
_RESNET: dict[str, Any] = _MLP | {
    "width": 8,
    "depth": 20,
    "norm": "group",
    "activation": "relu",
    "kappa": 2.0,
    "num_fixed": _resnet_fixed,
    "lr": 1e-4,
    "milestones": tuple(range(1, 21)),
    "gamma": 1.259,
    "batch_size": 128,
}
# For a laptop: one block in each stage, the same rise in ten steps.
_SMALL_RESNET: dict[str, Any] = {
    "width": 1,
    "depth": 8,
    "lr": 1e-3,
    "milestones": tuple(range(1, 11)),
    "batch_size": 64,
}

# Of a network that nobody knows: a rate that falls, after a rise in the first tenth of the training.
OWN: dict[str, Any] = _MLP | {
    "width": None,
    "depth": None,
    "norm": None,
    "activation": None,
    "num_fixed": _eighths,
    "schedule": "cosine",
    "warmup": _tenth,
    "epochs": 30,
}

_VIT: dict[str, Any] = OWN | {
    "width": 192,
    "depth": 6,
    "norm": "layer",
    "activation": "gelu",
    "heads": 6,
    "patch": 4,
    "clip": 1.0,
    "epochs": 100,
    "batch_size": 128,
}
# For a laptop: 16 patches of digits or of MNIST.
_SMALL_VIT: dict[str, Any] = {"width": 64, "depth": 2, "heads": 4, "epochs": 30, "batch_size": 64}

_GPT: dict[str, Any] = OWN | {
    "width": 64,
    "depth": 2,
    "norm": "layer",
    "activation": "gelu",
    "heads": 4,
    "tied": True,
    "lr": 3e-3,
    "clip": 1.0,
    "epochs": 10,
}

# An epoch is one step on the whole graph.
_GCN: dict[str, Any] = _MLP | {
    "width": 64,
    "depth": 2,
    "norm": "none",
    "activation": "relu",
    "num_fixed": _eighths,
    "lr": 1e-2,
    "batch_size": 1,
    "save_every": 20,
}


def _six(graph: Graph) -> list[float]:
    """num_fixed of the reference code's graph network."""
    return [6.0] * len(graph.weighted)


GENERAL: dict[str, Settings] = {"mlp": _MLP, "resnet": _RESNET, "vit": _VIT, "gpt": _GPT, "gcn": _GCN}

RECIPES: dict[tuple[str, str], Settings] = {
    ("mlp", "mnist"): {"num_fixed": _shares(64 / 784, 1 / 8, 1 / 2)},
    ("mlp", "mnist-coherence"): {"num_fixed": _shares(64 / 784, 1 / 8, 1 / 2)},
    ("mlp", "digits"): {"width": 128, "epochs": 30},
    ("resnet", "digits"): _SMALL_RESNET | {"epochs": 30},
    ("resnet", "mnist"): _SMALL_RESNET | {"epochs": 15},
    ("resnet", "fashion-mnist"): _SMALL_RESNET | {"epochs": 15},
    ("resnet", "image-folder"): _SMALL_RESNET | {"epochs": 30},
    ("vit", "digits"): _SMALL_VIT | {"patch": 2},
    ("vit", "mnist"): _SMALL_VIT | {"patch": 7, "epochs": 15},
    ("vit", "fashion-mnist"): _SMALL_VIT | {"patch": 7, "epochs": 15},
    ("vit", "image-folder"): _SMALL_VIT | {"patch": 4},
    ("gcn", "ogbn-arxiv"): {
        "width": 256,
        "depth": 3,
        "norm": "batch",
        "kappa": 0.5,
        "num_fixed": _six,
        "epochs": 500,
        "save_every": 50,
    },
}


def recipe_of(arch: str, dataset: str) -> Settings:
    """The defaults of an architecture of ours on a data set."""
    return {**GENERAL[arch], **RECIPES.get((arch, dataset), {})}
