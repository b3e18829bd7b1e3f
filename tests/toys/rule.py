"""The rule of the toy symmetry type: the first weight of every neuron is kappa."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Generator, Tensor

from nid_cli.nets.layers import Layer
from nid_cli.nets.symmetry import Rule


def _draw(op: Layer, num_fixed: int, generator: Generator) -> dict[str, Tensor]:
    mask = torch.ones(op.channels, op.fan_in, dtype=torch.bool)
    mask[:, 0] = False
    return {"mask": mask}


def _effective(theta: Tensor, fixed: Mapping[str, Tensor], kappa: float) -> Tensor:
    return torch.where(fixed["mask"], theta, kappa)


def _pin(fixed: Mapping[str, Tensor], kappa: float) -> tuple[Tensor, Tensor]:
    index = (~fixed["mask"]).flatten().nonzero().squeeze(1)
    return index, torch.full((len(index),), kappa)


RULE = Rule(draw=_draw, effective=_effective, pin=_pin)
