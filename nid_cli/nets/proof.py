"""Proof by running: permutations leave a network's outputs unchanged."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from nid_cli.nets.bounds import plan_of
from nid_cli.nets.description import Description
from nid_cli.nets.example import example
from nid_cli.nets.interpreter import run
from nid_cli.nets.permutation import identity, permute, random
from nid_cli.nets.rules import statistics
from nid_cli.nets.sizes import numbers
from nid_cli.nets.spaces import Symmetries, derive

# Greatest relative change of the outputs in float64.
TOLERANCE = 1e-9


@dataclass(frozen=True)
class Proof:
    """``error``: the greatest change of the outputs over the greatest output, with all spaces that hold permuted.

    ``at_fault``: the spaces whose permutation changes the outputs; they must be pinned. ``moved``: the share of
    parameters that are in tensors that some space which holds moves. Where the outputs are not ``finite``, nothing can
    be seen, and all spaces are at fault.
    """

    error: float
    moved: float
    at_fault: tuple[str, ...]
    finite: bool = True


def symmetries_of(description: Description) -> Symmetries:
    """The symmetries that are derived for a network; buffers that hold no running statistics are constants."""
    constant = description.buffers.keys() - running_statistics(description)
    stored = {**description.parameters, **{name: buffer.shape for name, buffer in description.buffers.items()}}
    inputs = {given.name: given.shape for given in description.inputs}
    return derive(description.calls, stored, inputs, description.output, constant=constant)


def prove(
    description: Description,
    state: Mapping[str, Tensor],
    symmetries: Symmetries,
    tolerance: float = TOLERANCE,
    seed: int = 0,
) -> Proof:
    """Runs the network in float64 with random weights, as they are and permuted; the spaces at fault by halving.

    Args:
        state: where buffers that are no running statistics (masks, indices) have their values from; and all tensors,
            where random ones give outputs that are not finite.
    """
    plan = plan_of(description, torch.float64)
    tensors = random_tensors(description, state, seed)
    given = {
        own.name: x.double() if x.is_floating_point() else x
        for own, x in zip(description.inputs, example(description.inputs, 2, seed), strict=True)
    }
    permutation = random(symmetries.spaces, torch.Generator().manual_seed(seed))
    still = identity(symmetries.spaces)

    def outputs(stored: Mapping[str, Tensor]) -> Tensor:
        with torch.no_grad(), floating(torch.float64):
            return run(plan, stored, given, (description.output,))[description.output]

    if not bool((before := outputs(tensors)).isfinite().all()):
        own = {name: part.double() if part.dtype == torch.float32 else part for name, part in state.items()}
        tensors |= {name: own[name] for name in tensors.keys() & own.keys()}
        before = outputs(tensors)
    if not bool(before.isfinite().all()):
        return Proof(math.inf, 0.0, tuple(permutation), finite=False)

    @cache
    def error(names: tuple[str, ...]) -> float:
        moved = {**still, **{name: permutation[name] for name in names}}
        return relative_error(outputs(permute(symmetries.axes, tensors, moved)), before)

    def holds(names: Sequence[str]) -> bool:
        return not names or error(tuple(names)) <= tolerance

    def at_fault(names: Sequence[str]) -> list[str]:
        if holds(names):
            return []
        if len(names) == 1:
            return [*names]
        half = len(names) // 2
        # Two halves that hold each, but not together: none of them is to be trusted.
        return at_fault(names[:half]) + at_fault(names[half:]) or [*names]

    trusted, found = list(permutation), []
    while faulty := at_fault(trusted):
        found += faulty
        trusted = [name for name in trusted if name not in faulty]
    moved = {name for space in symmetries.spaces if space.name in trusted for name, _ in space.places}
    return Proof(error(tuple(trusted)), share_moved(description, moved), tuple(found))


@contextmanager
def floating(dtype: torch.dtype) -> Iterator[None]:
    """What becomes of whole numbers that are divided, or whose sine is taken, is of this type."""
    was = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(was)


def share_moved(description: Description, moved: Collection[str]) -> float:
    """The share of the parameters that calls read which are in the tensors named in ``moved``."""
    read = {name for call in description.calls for name in call.stored}
    sizes = {name: numbers(shape) for name, shape in description.parameters.items() if name in read}
    return sum(size for name, size in sizes.items() if name in moved) / max(1, sum(sizes.values()))


def random_tensors(description: Description, state: Mapping[str, Tensor], seed: int = 0) -> dict[str, Tensor]:
    """Random weights (scaled by fan-in) and running statistics in float64; other buffers are those of ``state``."""
    generator = torch.Generator().manual_seed(seed)
    drawn: dict[str, Tensor] = {}
    for name, shape in description.parameters.items():
        if len(shape) > 1:
            most = (3 / max(1, math.prod(shape[1:]))) ** 0.5  # type: ignore[arg-type]
            drawn[name] = torch.empty(shape, dtype=torch.float64).uniform_(-most, most, generator=generator)  # type: ignore[arg-type]
        else:
            drawn[name] = 0.5 + torch.rand(shape, generator=generator, dtype=torch.float64)  # type: ignore[arg-type]
    running = running_statistics(description)
    for name, buffer in description.buffers.items():
        if name in running:
            shape = buffer.shape
            drawn[name] = 0.5 + torch.rand(shape, generator=generator, dtype=torch.float64)  # type: ignore[arg-type]
        else:
            drawn[name] = state[name].double() if state[name].dtype == torch.float32 else state[name]
    return drawn


def running_statistics(description: Description) -> set[str]:
    """The names of the buffers that norms keep their running statistics in."""
    return {name for call in description.calls for name in statistics(call)}


def relative_error(found: Tensor, expected: Tensor) -> float:
    """The greatest difference over the greatest magnitude; infinite where either is not finite."""
    difference, scale = float((found - expected).abs().max()), float(expected.abs().max())
    return difference / max(scale, 1e-300) if math.isfinite(difference) and math.isfinite(scale) else math.inf
