"""Characters drawn from the grammar (docs/science.md, 10)."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from nid_cli.data.catalog import Parameters
from nid_cli.data.grammar import ALPHABET, automaton
from nid_cli.data.tensors import RawData, Split

# Raised when a change here, or of the grammar, draws other data from the same seeds.
GENERATOR = 1


def load_grammar(parameters: Parameters, folder: Path) -> RawData:
    """N x length characters from a sentence's start on (int64, places in ``ALPHABET``), and the next one of each."""

    def draw(count: int | float, seed: int | float) -> Split:
        characters = sample(int(count), int(parameters["length"]) + 1, int(seed))
        return Split(characters[:, :-1].contiguous(), characters[:, 1:].contiguous())

    return RawData(
        draw(parameters["samples"], parameters["train_seed"]),
        draw(parameters["test_samples"], parameters["test_seed"]),
        generator=GENERATOR,
    )


def sample(count: int, length: int, seed: int) -> Tensor:
    """count x length characters; weights are whole numbers, so that all machines draw the same."""
    generator = torch.Generator().manual_seed(seed)
    weights = torch.zeros(len(automaton()), len(ALPHABET), dtype=torch.int64)
    targets = torch.zeros_like(weights)
    for state, arcs in enumerate(automaton()):
        for arc in arcs:
            weights[state, arc.character], targets[state, arc.character] = arc.weight, arc.target
    below = weights.cumsum(1)
    states = torch.zeros(count, dtype=torch.int64)
    drawn = []
    for uniform in torch.rand(length, count, generator=generator, dtype=torch.float64):
        rank = (uniform * below[states, -1]).long()
        drawn.append((rank[:, None] >= below[states]).sum(1))
        states = targets[states, drawn[-1]]
    return torch.stack(drawn, 1)
