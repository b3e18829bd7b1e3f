"""Whether a network is what its module is, by running both: what they put out, and what they learn."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from nid_cli.nets.bounds import plan_of
from nid_cli.nets.description import Description
from nid_cli.nets.interpreter import run
from nid_cli.nets.proof import floating, relative_error, running_statistics

# A relative difference of outputs in float32 above which it must be told from rounding.
ROUNDING = 1e-6


@dataclass(frozen=True)
class Agreement:
    """Greatest relative differences between a module and its description: outputs, and running statistics."""

    evaluation: float
    training: float
    statistics: float


class _Both:
    """A module and its description with tensors of their own, on the same inputs, in one floating type."""

    def __init__(
        self,
        module: nn.Module,
        description: Description,
        state: Mapping[str, Tensor],
        inputs: Sequence[Tensor],
        dtype: torch.dtype,
    ) -> None:
        self.description, self.inputs, self.dtype = description, inputs, dtype
        self.module = copy.deepcopy(module).to(dtype)
        self.named: dict[str, Tensor] = {**dict(self.module.named_buffers()), **dict(self.module.named_parameters())}
        self.stored = {name: self._own(tensor) for name, tensor in state.items()}
        self.plan = plan_of(description, dtype)

    def _own(self, x: Tensor) -> Tensor:
        return x.detach().to(self.dtype, copy=True) if x.dtype == torch.float32 else x.detach().clone()

    def theirs(self) -> Tensor:
        """What the module puts out."""
        with floating(self.dtype):
            found: Tensor = self.module(*map(self._own, self.inputs))
        return found

    def ours(self, training: bool) -> Tensor:
        """What its calls put out."""
        given = {one.name: self._own(x) for one, x in zip(self.description.inputs, self.inputs, strict=True)}
        output = self.description.output
        with floating(self.dtype):
            return run(self.plan, self.stored, given, (output,), training)[output]


def agree(
    module: nn.Module,
    description: Description,
    state: Mapping[str, Tensor],
    inputs: Sequence[Tensor],
    seed: int = 0,
    training: bool = True,
) -> Agreement:
    """Runs the module and its description on the same inputs, in evaluation and one step in training (same seed).

    The module, whose output must be a tensor, stays as it is. Where they differ in float32 by more than ``ROUNDING``,
    deep networks may do so by rounding alone: then both run in float64, and those differences count if the module can.

    Args:
        training: whether the step in training is held, too.
    """
    found = _held(_Both(module, description, state, inputs, torch.float32), seed, training)
    if max(found.evaluation, found.training, found.statistics) <= ROUNDING:
        return found
    try:
        return _held(_Both(module, description, state, inputs, torch.float64), seed, training)
    except (RuntimeError, TypeError):
        return found  # the module's code casts to float32 itself


def _held(both: _Both, seed: int, training: bool) -> Agreement:
    errors = []
    for trains in (False, True) if training else (False,):
        both.module.train(trains)
        with torch.no_grad(), torch.random.fork_rng():
            torch.manual_seed(seed)
            theirs = both.theirs()
            torch.manual_seed(seed)
            errors.append(relative_error(both.ours(trains), theirs))
    running = running_statistics(both.description)
    statistics = [relative_error(both.stored[name], both.named[name]) for name in running]
    return Agreement(errors[0], errors[-1], max(statistics, default=0.0))


def differing_gradient(
    module: nn.Module, description: Description, state: Mapping[str, Tensor], inputs: Sequence[Tensor], seed: int = 0
) -> str | None:
    """The parameter whose gradient is another in the module than in its description, in evaluation; None: none is.

    Of one random linear function of the outputs (which must be a tensor), in float64 where the module can. A
    ``detach`` or ``no_grad`` in a module's code leaves no trace in what it computes, but in what it learns.

    Args:
        state: tensors for both.

    Raises:
        RuntimeError: torch cannot go back through the module.
    """
    try:
        return _differing(_Both(module, description, state, inputs, torch.float64), seed)
    except (RuntimeError, TypeError):
        return _differing(_Both(module, description, state, inputs, torch.float32), seed)


def _differing(both: _Both, seed: int) -> str | None:
    both.module.eval()
    with torch.no_grad():
        for name in both.stored.keys() & both.named.keys():
            both.named[name].copy_(both.stored[name])
    described = both.description
    leaves = {n: both.stored[n].requires_grad_() for n in described.parameters if n not in described.frozen}
    theirs, ours = both.theirs(), both.ours(False)
    weights = torch.randn(theirs.shape, dtype=both.dtype, generator=torch.Generator().manual_seed(seed))
    for outputs in (theirs, ours):
        if outputs.requires_grad:
            (outputs * weights).sum().backward()
    gradients = {
        name: tuple(torch.zeros_like(leaf) if t.grad is None else t.grad for t in (both.named[name], leaf))
        for name, leaf in leaves.items()
        if leaf.numel()
    }
    # What is no more than the rounding of the greatest gradient is zero: that of a key's bias before a softmax.
    greatest = max((float(one.abs().max()) for pair in gradients.values() for one in pair), default=0.0)
    zero, bound = (1e-12, 1e-6) if both.dtype == torch.float64 else (1e-6, 1e-3)
    for name, (expected, found) in gradients.items():
        if not float((found - expected).abs().max()) <= max(bound * float(expected.abs().max()), zero * greatest):
            return name
    return None
