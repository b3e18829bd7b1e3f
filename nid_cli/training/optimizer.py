"""The optimizer step on effective weights: torch's own optimizers, plus what the symmetry type asks for.

Training the effective weight equals training theta in the explicit parametrization (docs/science.md, 1): fixed entries
are written back after the step, and weight decay pulls theta to zero, that is the weight to its anchor.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from nid_cli.nets.functional import State
from nid_cli.nets.symmetry import Constraint
from nid_cli.specs import OptimizerSpec


def learning_rate(spec: OptimizerSpec, epochs: int, epoch: int, step: int = 0, steps: int = 1) -> float:
    """The learning rate of a step, a function of its place in the training alone: a resumed one has the same.

    By ``steps`` it is lr times gamma for each milestone reached, as torch's MultiStepLR stepped at the end of each
    epoch: milestone m acts from epoch m + 1 on. By ``cosine`` it falls to zero from the end of the warm-up on, as
    torch's CosineAnnealingLR stepped after each step. In the warm-up both are multiplied by the share of its steps
    that have begun.

    Args:
        epochs: of the whole training.
        epoch: the step's, from 1 on.
        step: within the epoch, from 0 on, of ``steps``.
    """
    assert spec.lr is not None and spec.gamma is not None
    behind = epoch - 1 + step / steps
    rate = spec.lr
    if spec.schedule == "cosine":
        share = (behind - spec.warmup) / max(epochs - spec.warmup, 1 / steps)
        rate *= (1 + math.cos(math.pi * min(max(share, 0.0), 1.0))) / 2
    else:
        rate *= spec.gamma ** sum(1 for milestone in spec.milestones if milestone < epoch)
    begun = behind + 1 / steps
    return rate * begun / spec.warmup if begun < spec.warmup else rate


class ConstrainedOptimizer:
    """A torch optimizer over a dictionary of effective weights that respects a symmetry type's constraint.

    ``stacked``: the parameters have a first axis of models, and ``constraint`` is for such (``Constraint.stacked``).
    Each model then moves as it would alone, given the sum of all losses.
    """

    def __init__(
        self, spec: OptimizerSpec, parameters: Mapping[str, Tensor], constraint: Constraint, stacked: bool = False
    ) -> None:
        self.parameters = dict(parameters)
        self.constraint = constraint
        self.stacked = stacked
        assert spec.weight_decay is not None
        leaves = list(self.parameters.values())
        adam: dict[str, Any] = {"lr": spec.lr, "weight_decay": spec.weight_decay, "fused": True}
        self.torch: torch.optim.Optimizer
        if spec.name == "sgd":
            self.torch = torch.optim.SGD(leaves, momentum=spec.momentum or 0.0, **adam)
        else:
            self.torch = {"adamw": torch.optim.AdamW, "adam": torch.optim.Adam}[spec.name](leaves, **adam)
        self.decoupled = spec.name == "adamw"
        self.weight_decay = spec.weight_decay
        self.clip = spec.clip

    def set_learning_rate(self, lr: float) -> None:
        """The learning rate of the next steps."""
        for group in self.torch.param_groups:
            group["lr"] = lr

    def step(self, loss: Tensor) -> None:
        """One step along the gradient of ``loss``."""
        self.torch.zero_grad()
        loss.backward()
        with torch.no_grad():
            if self.clip is not None:
                self._shorten(self.clip)
            if not self.decoupled:
                for name, anchor in self.constraint.anchor.items():
                    if (gradient := self.parameters[name].grad) is not None:
                        gradient.add_(anchor, alpha=-self.weight_decay)
            self.torch.step()
            if self.decoupled:
                rate = self.torch.param_groups[0]["lr"] * self.weight_decay
                for name, anchor in self.constraint.anchor.items():
                    if self.parameters[name].grad is not None:  # else torch decays nothing either
                        self.parameters[name].add_(anchor, alpha=rate)
            for name, (index, values) in self.constraint.pinned.items():
                self.parameters[name].view(-1).index_copy_(0, index, values)

    def _shorten(self, longest: float) -> None:
        """Gradients of fixed entries are none, so they do not count in the norm."""
        for name, (index, _) in self.constraint.pinned.items():
            if (gradient := self.parameters[name].grad) is not None:
                gradient.view(-1).index_fill_(0, index, 0.0)
        if self.stacked:
            _shorten_each([own.grad for own in self.parameters.values() if own.grad is not None], longest)
        else:
            torch.nn.utils.clip_grad_norm_(list(self.parameters.values()), longest)

    def state(self) -> State:
        """The optimizer's moments as named tensors (``{parameter}/{moment}``), for resuming."""
        entries = self.torch.state_dict()["state"]
        return {
            f"{name}/{key}": value
            for i, name in enumerate(self.parameters)
            for key, value in entries.get(i, {}).items()
            if value is not None
        }

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Takes back what :meth:`state` gave."""
        names = list(self.parameters)
        entries: dict[int, dict[str, Tensor]] = {}
        for full, value in state.items():
            name, _, key = full.rpartition("/")
            entries.setdefault(names.index(name), {})[key] = value
        self.torch.load_state_dict(self.torch.state_dict() | {"state": entries})


def _shorten_each(gradients: Sequence[Tensor], longest: float) -> None:
    """Torch's ``clip_grad_norm_`` for each model, along the first axis of all gradients."""
    norms = torch.stack([torch.linalg.vector_norm(own.flatten(1), dim=1) for own in gradients])
    factors = (longest / (torch.linalg.vector_norm(norms, dim=0) + 1e-6)).clamp_max(1.0)
    for own in gradients:
        own.mul_(factors.view(-1, *(1 for _ in own.shape[1:])))


def stack_moments(states: Sequence[Mapping[str, Tensor]]) -> State:
    """What :meth:`ConstrainedOptimizer.state` gave for each of several models, for all of them stacked.

    Raises:
        ValueError: they have not taken the same number of steps.
    """
    first = states[0]
    if any(own.keys() != first.keys() for own in states):
        raise ValueError("the optimizers of stacked models hold different moments")
    found = {}
    for name, value in first.items():
        if not _counts(name):
            found[name] = torch.stack([own[name].to(value.device) for own in states])
        elif any(float(own[name]) != float(value) for own in states):
            raise ValueError("stacked models have taken different numbers of steps")
        else:
            found[name] = value.clone()
    return found


def unstack_moments(stacked: Mapping[str, Tensor], models: int) -> list[State]:
    """The optimizer's state of each model, as :meth:`ConstrainedOptimizer.state` gives it for one: views."""
    return [{name: value if _counts(name) else value[i] for name, value in stacked.items()} for i in range(models)]


def _counts(name: str) -> bool:
    """Whether a named moment is the number of steps, which a stack has in common."""
    return name.endswith("/step")
