"""A short version of the benchmark of stacks."""

from __future__ import annotations

import torch

from tests.benchmarks import stacks


def test_two_models_are_timed_stacked_and_one_by_one() -> None:
    device = torch.device("cpu")
    own = stacks.group("vit", 2, 64, device)
    name, models, alone, in_turn, stacked, *_ = stacks.trainings("vit", own, 1, device).split("\t")
    assert (name, models) == ("vit", "2") and 0 < float(alone) < float(in_turn) and float(stacked) > 0
    assert stacks.interpolations("vit", own, 1, device).startswith("vit\t23\t")
