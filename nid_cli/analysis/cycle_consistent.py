"""Cycle-consistent merging (C2M3, Crisostomi et al. 2024; docs/science.md, 14): one permutation of each model onto a
common universe, by Frank-Wolfe over doubly stochastic matrices, then assignment sweeps."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.polynomial import Polynomial

from nid_cli.analysis.assignment import families
from nid_cli.analysis.merging import Frames, Models, best, swept
from nid_cli.analysis.relaxation import Relaxation, Soft, between, nearest, soft, uniform
from nid_cli.nets.permutation import equal, identity, random

# Steps that raise the objective by less than this share of its bound are the last.
IMPROVEMENT = 1e-6
# How far a start is moved from its permutations towards the matrices that hold all permutations alike: at permutations
# that sweeps cannot improve, Frank-Wolfe has nothing to do either.
SOFTENED = 0.5


def cycle(models: Models) -> Frames:
    """The best of what Frank-Wolfe and sweeps make of several starts, and of the starts themselves.

    So it is never below MergeMany or weight matching in the common objective.
    """
    chosen = families(models.graph.spaces)
    # Rounding of a climb is nothing beside what sweeps decide, which are exact.
    relaxation = Relaxation(models.graph, models.states, chosen, torch.float32)
    found: list[Frames] = []
    for start in _starts(models):
        if models.are_one(start):
            return start
        if any(all(map(equal, start, other)) for other in found):
            continue
        at = [between(soft(chosen, own, torch.float32), uniform(chosen, torch.float32), SOFTENED) for own in start]
        climbed = frank_wolfe(relaxation, at, models.steps, models.bound)
        found += [start, swept(models, [nearest(chosen, own) for own in climbed])]
    return swept(models, best(models, found))


def _starts(models: Models) -> Iterator[Frames]:
    """MergeMany, the best of all pairwise matchings to one model (the first among them), nothing, and random ones."""
    yield models.frames("many")
    yield models.frames("first")
    yield best(models, [_star(models, centre) for centre in range(len(models.states))])
    yield models.unmoved()
    generator = torch.Generator().manual_seed(models.seed)
    for _ in range(models.random_starts):
        yield [random(models.graph.spaces, generator) for _ in models.states]


def _star(models: Models, centre: int) -> Frames:
    """Each model matched to one of them."""
    own = identity(models.graph.spaces)
    return [own if place == centre else models.pair(centre, place) for place in range(len(models.states))]


def frank_wolfe(relaxation: Relaxation, start: Sequence[Soft], steps: int, bound: float) -> list[Soft]:
    """Climbs from ``start``: towards the permutations that the derivatives favour, as far as the objective rises.

    The objective never falls; the climb ends where a step raises it by less than a share of its ``bound``, or after
    ``steps``.
    """
    at = list(start)
    dtype = next((own.dtype for each in at for own in each.values()), torch.float64)
    for _ in range(steps):
        _, slopes = relaxation.gradient(at)
        to = [soft(relaxation.families, nearest(relaxation.families, own), dtype) for own in slopes]
        rise = relaxation.along(at, to)
        weight = highest(rise)
        if weight == 0 or rise(weight) - rise(0) <= IMPROVEMENT * bound:
            break
        at = [between(own, other, weight) for own, other in zip(at, to, strict=True)]
    return at


def highest(values: Polynomial) -> float:
    """Where in [0, 1] a polynomial is greatest."""
    slope = values.deriv()
    # Leading coefficients that make no difference in [0, 1] have roots beyond all numbers.
    roots = np.asarray(slope.trim(1e-14 * abs(slope.coef).max()).roots(), dtype=complex)
    inner = roots.real[(abs(roots.imag) < 1e-9) & (roots.real > 0) & (roots.real < 1)]
    places = np.concatenate([[0.0, 1.0], inner])
    return float(places[np.argmax(values(places))])
