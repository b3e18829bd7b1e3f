"""What it costs a neuron to realize another's function: the Mahalanobis estimate (docs/science.md, 6), fast form."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from nid_cli.analysis.subspace import CHUNK, Subspace, fixed_factors, fixed_positions
from nid_cli.nets.layers import Layer

# 1 - s^2 at or below this counts as s = 1: the direction lies in the neuron's fixed inputs alone.
SINGULAR = 1e-9


@dataclass(frozen=True)
class Costs:
    """Squared costs c2[i, j] for neuron i to realize neuron j, and what it cannot realize (n x n, float64)."""

    cost_squared: Tensor
    residual: Tensor
    center_distance: Tensor

    @property
    def swap_squared(self) -> Tensor:
        """t2[i, j] = c2[i, j] + c2[j, i] - c2[i, i] - c2[j, j]: symmetric, zero on the diagonal."""
        return swap_costs(self.cost_squared)


def swap_costs(cost_squared: Tensor) -> Tensor:
    """Squared swap costs from squared realization costs (n x n)."""
    own = cost_squared.diagonal()
    swap = (cost_squared + cost_squared.T) - (own[:, None] + own[None, :])
    return swap.fill_diagonal_(0.0)


def realization_costs(subspace: Subspace, weight: Tensor, fixed_part: Tensor, mask: Tensor | None) -> Costs:
    """c2[i, j] = (a_j - v_i)^T S_i^+ (a_j - v_i) for all pairs of neurons of a layer (docs/science.md, 6; fast form).

    Args:
        weight: effective weights (n x d). fixed_part: their fixed part, kappa F or kappa N (n x d; zeros: standard).
        mask: True where trained (n x d); None where every weight is (standard, sigma, syre: S_i = I, nothing to solve).
    """
    a, v = weight.double() @ subspace.basis, fixed_part.double() @ subspace.basis
    squared = torch.cdist(v, a, compute_mode="donot_use_mm_for_euclid_dist").square()
    residual = torch.zeros_like(squared)
    if mask is not None and not bool(mask.all()):
        positions = fixed_positions(mask)
        for start in range(0, len(weight), CHUNK):
            part = slice(start, start + CHUNK)
            extra, infeasible = _masked(subspace.basis, positions[part], v[part], a)
            squared[part] += extra
            residual[part] = infeasible.clamp_min(0).sqrt()
    return Costs(squared.clamp_min(0), residual, torch.cdist(v, v, compute_mode="donot_use_mm_for_euclid_dist"))


def _masked(basis: Tensor, positions: Tensor, v: Tensor, a: Tensor) -> tuple[Tensor, Tensor]:
    """What masks add to |delta|^2 (m x n), and the squared infeasible part of delta, for m neurons' positions."""
    factors = fixed_factors(basis, positions)
    # (s_r q_r . delta)^2 for all r, neurons i and functions j.
    projected = factors.rows @ a.T - (factors.rows @ v[:, :, None])
    projected.square_()
    slack = 1 - factors.squares
    feasible = slack > SINGULAR
    # (q . delta)^2 = (s q . delta)^2 / s^2, and s^2/(1-s^2) (q . delta)^2 = (s q . delta)^2 / (1-s^2).
    weights = torch.where(feasible, 1 / slack.clamp_min(SINGULAR), -1 / factors.squares.clamp_min(0.5))
    infeasible = torch.where(feasible, 0.0, 1 / factors.squares.clamp_min(0.5))
    return (weights[:, None] @ projected).squeeze(1), (infeasible[:, None] @ projected).squeeze(1)


def layer_constraint(
    layer: Layer, weight: Tensor, pinned: Mapping[str, tuple[Tensor, Tensor]], anchor: Mapping[str, Tensor]
) -> tuple[Tensor, Tensor | None]:
    """(fixed part, mask) of a layer's weight (n x d), from its symmetry type's constraint (``nets.symmetry``)."""
    key, matrix = layer.weight, layer.matrix(weight)
    if key in pinned:
        index, values = pinned[key]
        fixed, mask = torch.zeros_like(weight), torch.ones_like(weight, dtype=torch.bool)
        fixed.view(-1)[index] = values
        mask.view(-1)[index] = False
        return layer.matrix(fixed), layer.matrix(mask)
    return (layer.matrix(anchor[key]) if key in anchor else torch.zeros_like(matrix)), None
