"""The settings of the synthetic experiment (docs/science.md, 9). No torch: recorded runs are found without it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

from nid_cli.analysis.catalog import FAMILIES
from nid_cli.analysis.parameters import Key, Parameters
from nid_cli.errors import UsageError
from nid_cli.nets import Graph

# How large the experiment is does not change what one pair is.
SIZE = ("families", "outer_seeds", "num_pairs")
# What tells one pair from another.
CASE = ("family", "active_copies", "outer_seed", "pair")

MASK_SEED, DATA_SEED, FRAME_SEED, MODEL_SEED = 10_000, 20_000, 30_000, 40_000
# The seeds of one outer seed's models lie this far from those of the next.
MODEL_STRIDE = 1_000
# Larger numbers than this, of students too, are taken for typing errors.
MOST = 1_000_000


@dataclass(frozen=True, kw_only=True)
class SyntheticSettings(Parameters):
    """What the experiment is; the defaults are the paper's.

    Attributes:
        families: how the input map is built.
        copies: pairs of input coordinates, c; each family runs with 1..c of them active.
        width: neurons of a student.
        density: probability that a weight is active (not masked).
        outer_seeds: draws of mask, data and frame.
        num_pairs: pairs of students for each family, number of active copies and outer seed.
        init_sd: sd of the initial weights; biases start at 0.
        points: of the segment between two students, both ends included, evenly spaced.
        axis_aligned_endpoint: a ``random_tight_frame`` of one active copy is not rotated.

    Raises:
        UsageError: a value that no experiment can have.
    """

    families: tuple[str, ...] = tuple(FAMILIES)
    copies: int = 10
    width: int = 128
    density: float = 0.15
    outer_seeds: int = 5
    num_pairs: int = 10
    train_samples: int = 1024
    test_samples: int = 2048
    batch_size: int = 512
    epochs: int = 100
    learning_rate: float = 1e-2
    weight_decay: float = 1e-2
    init_sd: float = 0.05
    points: int = 21
    axis_aligned_endpoint: bool = False

    def __post_init__(self) -> None:
        if not self.families or len(set(self.families)) < len(self.families):
            raise UsageError(f"families must be distinct and at least one, not {', '.join(self.families) or 'none'}")
        for family in self.families:
            if family not in FAMILIES:
                raise UsageError(f"unknown family {family!r}: choose from {', '.join(FAMILIES)}")
        for name in ("copies", "width", "outer_seeds", "num_pairs", "train_samples", "test_samples", "batch_size"):
            check_integer(name, getattr(self, name), 1)
        check_integer("epochs", self.epochs, 0)
        check_integer("points", self.points, 2)
        for name in ("learning_rate", "weight_decay", "init_sd"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise UsageError(f"{name} must be a number of at least 0, not {value!r}")
        if not 0 <= self.density <= 1:
            raise UsageError(f"density is a probability, from 0 to 1, not {self.density!r}")
        if self.outer_seeds > DATA_SEED - MASK_SEED:
            raise UsageError(f"outer_seeds is at most {DATA_SEED - MASK_SEED}: beyond, masks and data share seeds")
        if self.outer_seeds > 1 and 2 * self.num_pairs > MODEL_STRIDE:
            raise UsageError(f"num_pairs is at most {MODEL_STRIDE // 2}: beyond, outer seeds share models")
        if self.models > MOST:
            raise UsageError(f"the experiment would train {self.models} students; at most {MOST} are allowed")

    def of_each(self, graph: Graph) -> Iterator[Key]:
        """One result for each pair of students; the experiment needs no network of the registry."""
        common = self.common(*SIZE)
        cases = product(self.families, range(1, self.copies + 1), range(self.outer_seeds), range(self.num_pairs))
        for case in cases:
            yield common | dict(zip(CASE, case, strict=True))

    @property
    def models(self) -> int:
        """Students that the experiment trains."""
        return 2 * len(self.families) * self.copies * self.outer_seeds * self.num_pairs


def check_integer(name: str, value: object, least: int) -> None:
    """Raises a UsageError unless ``value`` is a whole number from ``least`` to ``MOST``."""
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= MOST:
        raise UsageError(f"{name} must be a whole number from {least} to {MOST}, not {value!r}")
