"""Our own networks as plain torch modules, given our own checkpoints: the same numbers, the same permutations."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Terminal

CODE = """
import torch
from torch import nn


class Mlp(nn.Module):
    def __init__(self, inputs=64, width=12, depth=3):
        super().__init__()
        sizes = [inputs, *[width] * (depth - 1), 10]
        self.linear = nn.ModuleList(nn.Linear(a, b) for a, b in zip(sizes, sizes[1:]))
        self.norm = nn.ModuleList(nn.LayerNorm(width) for _ in range(depth - 1))

    def forward(self, x):
        x = x.flatten(1)
        for linear, norm in zip(self.linear, self.norm):
            x = nn.functional.gelu(norm(linear(x)))
        return self.linear[-1](x)


class Block(nn.Module):
    def __init__(self, before, channels, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(before, channels, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(channels)
        self.shortcut = nn.Sequential()
        if stride > 1:
            self.shortcut.add_module("conv", nn.Conv2d(before, channels, 1, stride, bias=False))
            self.shortcut.add_module("norm", nn.BatchNorm2d(channels))

    def forward(self, x):
        inner = torch.relu(self.norm1(self.conv1(x)))
        return torch.relu(self.norm2(self.conv2(inner)) + self.shortcut(x))


class Resnet(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential()
        self.stem.add_module("conv", nn.Conv2d(1, 16, 3, 1, 1, bias=False))
        self.stem.add_module("norm", nn.BatchNorm2d(16))
        for stage, (before, channels) in enumerate(((16, 16), (16, 32), (32, 64)), 1):
            self.add_module(f"stage{stage}", nn.Sequential(Block(before, channels, 1 if stage == 1 else 2)))
        self.linear = nn.Linear(64, 10)

    def forward(self, x):
        x = torch.relu(self.stem(x))
        return self.linear(self.stage3(self.stage2(self.stage1(x))).mean((2, 3)))
"""
NATIVE = {
    "Mlp": ("--width", "12", "--depth", "3"),
    "Resnet": ("--arch", "resnet", "--norm", "batch", "--data", "train-size=200"),
}
RESET = ("lmc", "--align", "none,activation", "--points", "3", "--bn-reset")
REPAIR = ("lmc", "--align", "none,activation", "--points", "3", "--repair", "exact")
MEASURED = {
    "Mlp": (
        ("lmc", "--align", "none,activation,weight", "--points", "5"),
        ("match", "--at", "post_linear,post_norm,post_activation", "--similarity", "pearson,dot"),
        ("cost",),
        ("cost", "--method", "ridge", "--betas", "1", "--neurons", "3", "--iterations", "5", "--models", "1"),
        ("coherence",),
    ),
    "Resnet": (
        ("lmc", "--align", "none,activation,weight", "--points", "3"),
        RESET,
        REPAIR,
        ("match", "--at", "post_linear,post_norm,post_activation"),
        ("cost", "--models", "1"),
        ("coherence", "--models", "1"),
    ),
}
# What says which group and layer a record is of, and where it comes from.
NAMES = {"result_id", "group", "arch", "layer", "lineage"}


@pytest.mark.parametrize("name", NATIVE)
def test_numbers_and_permutations_are_those_of_the_native_group(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("NID_REGISTRY", raising=False)
    nid = Terminal(tmp_path, capsys)
    (tmp_path / "nets.py").write_text(CODE)
    assert nid("train", *NATIVE[name], "--epochs", "2", "--seeds", "2", "--name", "native") == 0, nid.errors
    checkpoints = sorted(map(str, tmp_path.glob(".nid/runs/*/model-*/epoch-000002.safetensors")))
    given = ("--epoch", "2", "--dataset", "digits", *NATIVE[name][4:], "--name", "own")
    assert nid("register", *checkpoints, "--model", f"nets.py:{name}", *given) == 0, nid.errors
    for command, *options in MEASURED[name]:
        ours = nid.records(command, "--group", "native", *options)
        own = nid.records(command, "--group", "own", *options)
        assert len(ours) == len(own) > 0
        for a, b in zip(ours, own, strict=True):
            assert b.keys() == a.keys()
            for key in a.keys() - NAMES:
                assert_same(a[key], b[key], f"{command} {a.get('layer')} {key}")
    spaces = [record["size"] for record in nid.records("symmetries", "native")]
    assert [record["size"] for record in nid.records("symmetries", "own")] == spaces


def assert_same(ours: Any, own: Any, where: str) -> None:
    """Equal, numbers up to 1e-6 of them."""
    if isinstance(ours, dict):
        assert ours.keys() == own.keys(), where
        for key in ours:
            assert_same(ours[key], own[key], where)
    elif isinstance(ours, list):
        assert len(ours) == len(own), where
        for a, b in zip(ours, own, strict=True):
            assert_same(a, b, where)
    elif isinstance(ours, float):
        assert own == pytest.approx(ours, rel=1e-6, abs=1e-6), where
    else:
        assert own == ours, where
