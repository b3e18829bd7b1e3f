"""Linear CKA of the layers of two networks (Kornblith et al. 2019; docs/science.md, 12), from samples that stream by.

CKA is a normalized dependence: that of A's neurons with B's, over the roots of each network's own. The dependence is
the squared norm of the cross-covariance, or its unbiased estimate on a sample.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from nid_cli.analysis.moments import CrossMoments

# Rows (samples; pixels of a convolution, tokens) that the debiased estimate is made of, at most.
SAMPLE = 2000


@dataclass(frozen=True)
class Dependence:
    """A dependence between the neurons of two networks: streamed over all samples, and debiased on some of them (None
    for fewer than four)."""

    streamed: float
    debiased: float | None


def cka(joint: float | None, own_a: float | None, own_b: float | None) -> float | None:
    """The normalized dependence; None where a network's own is not positive, or there is none."""
    if joint is None or own_a is None or own_b is None or own_a <= 0 or own_b <= 0:
        return None
    return float(joint / (own_a**0.5 * own_b**0.5))


class LayerPair:
    """One layer of A and one of B, whose samples stream by.

    Args:
        own_a, own_b: what :meth:`own` gave for a network before, over the same data and with the same seed.
    """

    def __init__(self, name: str, seed: int, own_a: Dependence | None = None, own_b: Dependence | None = None) -> None:
        self.name, self.known = name, (own_a, own_b)
        self.moments: list[CrossMoments | None] = [None, None, None]
        self.sample = RowSample(seed)

    def add(self, a: Tensor, b: Tensor) -> None:
        """Adds samples: ``a`` (N x n) and ``b`` (N x m)."""
        for place, (u, v, known) in enumerate(((a, b, None), (a, a, self.known[0]), (b, b, self.known[1]))):
            if known is None:
                moments = self.moments[place] or CrossMoments.start(u, v)
                moments.add(u, v)
                self.moments[place] = moments
        self.sample.add(a, b)

    def joint(self) -> Dependence:
        """The dependence of A's neurons with B's.

        Raises:
            NidError: activations overflow.
        """
        moments = self._moments(0)
        return self._dependence(moments, *self._varying(moments))

    def own(self) -> tuple[Dependence, Dependence]:
        """The dependence of each network's neurons with themselves."""
        sides = self._varying(self._moments(0))
        own = [
            known or self._dependence(self._moments(place), side, side)
            for place, (known, side) in enumerate(zip(self.known, sides, strict=True), 1)
        ]
        return own[0], own[1]

    def _moments(self, place: int) -> CrossMoments:
        moments = self.moments[place]
        assert moments is not None
        moments.refuse_overflow(self.name)
        return moments

    def _varying(self, moments: CrossMoments) -> list[Tensor]:
        """The sampled rows of both, without neurons that are constant."""
        return [rows[:, own.isfinite()] for rows, own in zip(self.sample.rows(), moments.deviations(), strict=True)]

    def _dependence(self, moments: CrossMoments, x: Tensor, y: Tensor) -> Dependence:
        return Dependence(float(moments.covariance().square().sum()), unbiased(x, y))


class RowSample:
    """At most ``SAMPLE`` of the rows that stream by, each as likely as any other; which ones depends on the seed and
    their number alone."""

    def __init__(self, seed: int) -> None:
        self._generator = np.random.default_rng(seed)
        self._keys = torch.zeros(0, dtype=torch.float64)
        self._rows: tuple[Tensor, Tensor] | None = None

    def add(self, a: Tensor, b: Tensor) -> None:
        """Shows it N rows of both networks; those with the least random keys stay."""
        keys = torch.from_numpy(self._generator.random(len(a)))
        if len(self._keys) == SAMPLE:
            new = (keys < self._keys.max()).nonzero()[:, 0]
        else:
            new = keys.topk(min(len(keys), SAMPLE), largest=False).indices
        own = [rows[new.to(rows.device)] for rows in (a, b)]
        if self._rows is not None:
            own = [torch.cat(pair) for pair in zip(self._rows, own, strict=True)]
        keys = torch.cat([self._keys, keys[new]])
        kept = keys.topk(min(len(keys), SAMPLE), largest=False).indices
        self._keys, self._rows = keys[kept], (own[0][kept.to(a.device)], own[1][kept.to(b.device)])

    def rows(self) -> tuple[Tensor, Tensor]:
        """The rows of A (N x n) and of B (N x m), in float64."""
        assert self._rows is not None
        return self._rows[0].double(), self._rows[1].double()


def unbiased(x: Tensor, y: Tensor) -> float | None:
    """The unbiased estimate of HSIC by Song et al. 2012, for linear kernels of ``x`` (N x n) and ``y`` (N x m); None
    for N < 4.

    With K and L the kernels' matrices with zeros on their diagonals, it is
    (tr KL + 1'K1 1'L1 / ((N - 1)(N - 2)) - 2 1'KL1 / (N - 2)) / (N (N - 3)). No N x N matrix is needed.
    """
    n = len(x)
    if n < 4:
        return None
    x, y = x - x[0], y - y[0]  # which changes nothing but the rounding, and makes constants zero
    k, l = x.square().sum(1), y.square().sum(1)  # noqa: E741
    rows_k, rows_l = x @ x.sum(0) - k, y @ y.sum(0) - l
    trace = _products(x, y) - k @ l
    ends = rows_k.sum() * rows_l.sum() / ((n - 1) * (n - 2))
    return float((trace + ends - 2 / (n - 2) * (rows_k @ rows_l)) / (n * (n - 3)))


def _products(x: Tensor, y: Tensor) -> Tensor:
    """The sum of the products of the entries of XX' and YY', by the smaller matrices."""
    if min(x.shape[1], y.shape[1]) <= len(x):
        return (x.T @ y).square().sum()
    return ((x @ x.T) * (y @ y.T)).sum()
