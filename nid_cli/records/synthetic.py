"""The synthetic coherence experiment (docs/science.md, 9)."""

from __future__ import annotations

from dataclasses import dataclass

from nid_cli.records.base import RESULT, Record, column


@dataclass(frozen=True, kw_only=True)
class Synthetic(Record):
    """One pair of students: test MSE along the segment, and how far it rises above the worse end."""

    schema = "nid.synthetic/1"
    about = (RESULT,)

    family: str = column("How the inputs are embedded: exact_copy or random_tight_frame")
    active_copies: int = column("Active copies of the inputs, s")
    coherence: float = column("Coherence of the input subspace, 1 / s")
    outer_seed: int = column("The draw of mask, data and frame")
    pair: int = column("The pair's number within that draw")
    lambdas: list[float] = column("Points on the segment")
    test_loss: list[float] = column("Test mean squared error at each of them")
    barrier_mid: float = column("At 1/2, above the worse end", title="midpoint barrier")
    barrier_peak: float = column("At its greatest, above the worse end", title="peak barrier")
