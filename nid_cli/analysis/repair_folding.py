"""How corrections of pre-activations become part of stored tensors (docs/science.md, 15)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from nid_cli.nets.calls import Stored
from nid_cli.nets.functional import State
from nid_cli.nets.preactivations import LAYER, NORM, STATISTICS, Preactivation


@dataclass(frozen=True)
class Correction:
    """For each channel (float64): whether it is corrected at all, the mean and deviation that it has, and those that it
    is to have; over so many ``samples``."""

    alive: Tensor
    mean: Tensor
    deviation: Tensor
    wanted_mean: Tensor
    wanted_deviation: Tensor
    samples: int

    @property
    def scale(self) -> Tensor:
        """What multiplies a channel."""
        return torch.where(self.alive, self.wanted_deviation / self.deviation, 1.0)

    @property
    def shift(self) -> Tensor:
        """What is added to it after that."""
        return torch.where(self.alive, self.wanted_mean - self.scale * self.mean, 0.0)


def into_layer(
    point: Preactivation, state: State, ends: Sequence[State], weights: Sequence[float], correction: Correction
) -> State:
    """s (W x + b) + t = (s W) x + (s b + t); without a bias that can take it, t is left out."""
    layer = point.layer
    assert layer is not None
    weight = state[layer.weight]
    scaled = layer.matrix(weight).double() * correction.scale[:, None]
    found = {layer.weight: layer.stored(scaled, tuple(weight.shape)).to(weight.dtype)}
    if point.bias is not None:
        bias = state[point.bias]
        found[point.bias] = (bias.double() * correction.scale + correction.shift).to(bias.dtype)
    return found


def into_norm(
    point: Preactivation, state: State, ends: Sequence[State], weights: Sequence[float], correction: Correction
) -> State:
    """The running statistics become those of the norm's inputs; what they change goes into the affine part.

    The merged norm is to do to the corrected input s x + t what the ends' norms do on average: subtract their mean
    running mean, divide by their mean running deviation.
    """
    center, spread, epsilon, (weight, bias, running_mean, running_var) = _norm(point, state, ends, weights)
    assert weight is not None and bias is not None
    variance = correction.deviation.square() * (correction.samples / max(correction.samples - 1, 1))
    gain = correction.wanted_deviation / spread * (variance + epsilon).sqrt() / correction.deviation
    gamma, beta = state[weight].double(), state[bias].double()
    return _where_alive(
        correction,
        state,
        {
            weight: gamma * gain,
            bias: beta + gamma * (correction.wanted_mean - center) / spread,
            running_mean: correction.mean,
            running_var: variance,
        },
    )


def into_statistics(
    point: Preactivation, state: State, ends: Sequence[State], weights: Sequence[float], correction: Correction
) -> State:
    """The same function by running statistics alone, where there is no affine part that is this norm's own."""
    center, spread, epsilon, (_, _, running_mean, running_var) = _norm(point, state, ends, weights)
    wider = correction.deviation / torch.where(correction.alive, correction.wanted_deviation, 1.0)
    return _where_alive(
        correction,
        state,
        {
            running_mean: correction.mean - (correction.wanted_mean - center) * wider,
            running_var: ((spread * wider).square() - epsilon).clamp_min(0),
        },
    )


def _norm(
    point: Preactivation, state: State, ends: Sequence[State], weights: Sequence[float]
) -> tuple[Tensor, Tensor, float, tuple[str | None, str | None, str, str]]:
    """The ends' running means and deviations on average, epsilon, and the names of the norm's tensors."""
    call = point.norm
    assert call is not None
    weight, bias, mean, var = (part.name if isinstance(part, Stored) else None for part in call.args[1:5])
    assert mean is not None and var is not None
    epsilon = float(call.args[7])
    w = torch.tensor(weights, dtype=torch.float64, device=state[mean].device)
    center = w @ torch.stack([end[mean].double() for end in ends])
    spread = w @ torch.stack([(end[var].double() + epsilon).sqrt() for end in ends])
    return center, spread, epsilon, (weight, bias, mean, var)


def _where_alive(correction: Correction, state: State, changed: Mapping[str, Tensor]) -> State:
    return {
        name: torch.where(correction.alive, own, state[name].double()).to(state[name].dtype)
        for name, own in changed.items()
    }


# By the places that ``nets.preactivations`` names.
FOLDS = {LAYER: into_layer, NORM: into_norm, STATISTICS: into_statistics}
