"""How coherent a layer's principal subspace is, and how unevenly the masks cut it (docs/science.md, 8)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from nid_cli.analysis.subspace import Subspace, fixed_positions, fixed_squares
from nid_cli.records.coherence import Coherence

DELTAS = (0.2, 0.1, 0.05, 0.02, 0.01, 0.005, 0.002, 0.001)


def anisotropy(subspace: Subspace, mask: Tensor) -> Tensor:
    """The operator norm |S_i - p I|_2 of each neuron (n, float64), p the mean of the mask.

    The eigenvalues of S_i - p I are (1-p) - s_r^2 for the min(f, k) singular values s_r of U_F, plus 1-p where k > f.

    Args:
        mask: True where trained (n x d).
    """
    if bool(mask.all()):
        return torch.zeros(len(mask), dtype=torch.float64)
    free = 1 - mask.double().mean()
    squares = fixed_squares(subspace.basis, fixed_positions(mask))
    norms = (free - squares).abs().amax(1)
    if squares.shape[1] < subspace.basis.shape[1]:
        norms = norms.clamp_min(free)
    return norms


def anisotropy_bounds(subspace: Subspace, mask: Tensor | None) -> dict[str, float]:
    """For each delta what the anisotropy does not exceed with probability 1 - delta; 0 without a mask.

    (2/3) b nu log(2k/delta) + sigma_d sqrt(nu) sqrt(2 log(2k/delta)), b = max(p, 1-p), sigma_d = sqrt(p (1-p)).
    """
    share = 1.0 if mask is None else float(mask.double().mean())
    if share == 1.0:
        return {str(delta): 0.0 for delta in DELTAS}
    nu, k = subspace.coherence, subspace.basis.shape[1]
    spread = math.sqrt(share * (1 - share))
    bounds = {}
    for delta in DELTAS:
        log = math.log(2 * k / delta)
        bounds[str(delta)] = 2 / 3 * max(share, 1 - share) * nu * log + spread * math.sqrt(nu) * math.sqrt(2 * log)
    return bounds


def layer_coherence(layer: int | str, subspace: Subspace, neurons: int, mask: Tensor | None) -> Coherence:
    """One layer's record: the subspace, each neuron's anisotropy, the bounds, and the share of neurons above each."""
    norms = anisotropy(subspace, mask) if mask is not None else torch.zeros(neurons, dtype=torch.float64)
    bounds = anisotropy_bounds(subspace, mask)
    above = {d: float((norms > bound).double().mean()) if len(norms) else None for d, bound in bounds.items()}
    return Coherence(
        layer=layer,
        subspace=subspace.summary(),
        anisotropy=norms.tolist(),
        anisotropy_mean=float(norms.mean()) if len(norms) else None,
        anisotropy_bounds=bounds,
        share_above_bounds=above,
    )
