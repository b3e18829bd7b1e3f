"""Answers as logits over options, and the one temperature that fits a network's logits to the truth (Guo et al. 2017;
docs/science.md, 17). All in float64."""

from __future__ import annotations

import torch
from torch import Tensor

from nid_cli.data.file import UNCOUNTED

# Safeguarded Newton steps; a dozen do, bisection alone would need about 60.
MOST_STEPS = 100


def answers(logits: Tensor, targets: Tensor) -> Tensor:
    """The logits of each answer (answers x options) of a batch: a sample's classes, those of a position that counts, or
    for each label the two logits 0 and z, whose softmax is that of a label alone: (1 - sigmoid(z), sigmoid(z))."""
    logits = logits.double()
    if targets.is_floating_point():
        z = logits.flatten()
        return torch.stack([torch.zeros_like(z), z], -1)
    return logits[targets != UNCOUNTED] if targets.ndim == 2 else logits


def truths(targets: Tensor) -> Tensor:
    """What is right for each of them: its class, or for a label the share (0 or 1) of its second option."""
    if targets.is_floating_point():
        return targets.flatten().double()
    return targets[targets != UNCOUNTED] if targets.ndim == 2 else targets


def at_truth(logits: Tensor, truth: Tensor) -> Tensor:
    """The logit of what is right (... x answers) in ``logits`` (... x answers x options)."""
    if truth.is_floating_point():
        return torch.lerp(logits[..., 0], logits[..., 1], truth)
    return logits.gather(-1, truth.expand(logits.shape[:-1]).unsqueeze(-1)).squeeze(-1)


def losses(logits: Tensor, truth: Tensor, sharpness: Tensor | float = 1.0) -> Tensor:
    """Cross-entropy of each answer (... x answers) where logits are divided by a temperature, ``sharpness`` = 1/T."""
    return torch.logsumexp(sharpness * logits, -1) - sharpness * at_truth(logits, truth)


def fit_sharpness(logits: Tensor, truth: Tensor) -> Tensor:
    """1/T (networks, float64), not below 0, of least mean cross-entropy for each network.

    The loss is convex in 1/T, and rises without bound as soon as one answer is wrong; 0 (an infinite temperature) is
    the best for a network that answers worse than by chance. Where all answers are right the loss falls forever: then
    one further answer counts whose options are all equally right, which every finite sample leaves possible (as Platt
    1999 has it). 1 where logits say nothing; not a number where they are none.

    Args:
        logits: networks x answers x options. truth: what is right, the same for all networks.
    """
    top = logits.amax(-1, keepdim=True)
    below = logits - top  # at most 0: nothing overflows, and the best option's logit is exact
    missed = -at_truth(below, truth)
    further = (missed == 0).all(-1).double() / missed.shape[-1]  # the weight of the further answer
    slope = missed.mean(-1) - further * below.mean((-2, -1))

    def derivatives(sharpness: Tensor) -> tuple[Tensor, Tensor]:
        p = torch.softmax(sharpness.view(-1, 1, 1) * below, -1)
        mean = (p * below).sum(-1)
        spread = (p * (below - mean.unsqueeze(-1)).square()).sum(-1)
        return (1 + further) * mean.mean(-1) + slope, (1 + further) * spread.mean(-1)

    low, high = torch.zeros_like(slope), torch.ones_like(slope)
    at_zero, curvature = derivatives(low)
    for _ in range(MOST_STEPS):
        short = derivatives(high)[0] < 0
        if not short.any():
            break
        low, high = torch.where(short, high, low), torch.where(short, 2 * high, high)
    found = (low + high) / 2
    for _ in range(MOST_STEPS):
        first, second = derivatives(found)
        low, high = torch.where(first < 0, found, low), torch.where(first < 0, high, found)
        newton = found - first / second
        inside = (newton > low) & (newton < high)
        step = torch.where(inside, newton, (low + high) / 2)
        done = ((step - found).abs() <= 1e-12 * found) | (first == 0)
        found = torch.where(first == 0, found, step)
        if done.all():
            break
    found = torch.where(at_zero >= 0, 0.0, found)
    found = torch.where((at_zero == 0) & (curvature == 0), 1.0, found)
    return torch.where(logits.isfinite().all(-1).all(-1), found, torch.nan)
