"""Matching neurons of two networks by their activations (docs/science.md, 4), from streamed moments."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from nid_cli.analysis.assignment import (
    Family,
    Similarity,
    ascend,
    best_permutation,
    families,
    inner_scores,
    places,
    solve,
)
from nid_cli.analysis.moments import CrossMoments, Unit, similarities, sites_at, stream_moments, units_of
from nid_cli.data.tensors import Data
from nid_cli.nets.axes import leaves
from nid_cli.nets.graph import Graph
from nid_cli.nets.permutation import Permutation, axis_index, identity, permute
from nid_cli.nets.sites import SITES
from nid_cli.records.match import Match
from nid_cli.specs.alignments import ByActivations

# A step must raise the mean similarity by more than rounding to be taken.
IMPROVEMENT = 1e-9


@dataclass(frozen=True)
class Compared:
    """What was recorded of two networks at some sites: the units, and the similarity of their neurons (n x n)."""

    units: Sequence[Unit]
    matrices: Mapping[tuple[str, str], Tensor]

    def of(self, family: Family, permutation: Permutation, sites: Mapping[str, str]) -> Similarity:
        """The mean similarities of a family's positions, other spaces permuted.

        Args:
            sites: for each space the site at which it counts.
        """
        total, counts = Similarity.empty(family), dict.fromkeys(family.names, 0)
        n = family.outer.size
        for unit in self.units:
            matrix = self.matrices[unit.name, unit.site]
            for name, in_a, in_b in places(unit.tree, family, permutation):
                key = name or family.outer.name
                if sites.get(key) != unit.site:
                    continue
                for rows, columns in zip(in_a.flatten(1), in_b.flatten(1), strict=True):
                    part = matrix[rows[:, None], columns]
                    if name is None:
                        total.outer += part
                    else:
                        total.inner[name] += part.view(n, -1, n, in_a.shape[2]).transpose(1, 2)
                    counts[key] += 1
        total.outer /= max(1, counts[family.outer.name])
        for space in family.inner:
            total.inner[space.name] /= max(1, counts[space.name])
        return total


def compare(
    graph: Graph,
    a: Mapping[str, Tensor],
    b: Mapping[str, Tensor],
    data: Data,
    sites: Collection[str],
    similarity: Collection[str],
) -> dict[str, Compared]:
    """The similarities of all neurons at some sites, by each way to compare; one pass over the training set.

    Values with a space on another axis too (the channels beside the hidden neurons over tokens of an MLP-Mixer) have
    comparable samples only where that one is matched: for them there is a pass of its own, by what the first one found.
    """
    units = units_of(graph, sites)
    first = [unit for unit in units if not unit.beside]
    moments = stream_moments(graph, a, b, data, first)
    found = {name: Compared(first, _matrices(moments, name)) for name in similarity}
    if not (later := [unit for unit in units if unit.beside]):
        return found
    for name, own in found.items():
        matched = _align(graph, own, _last_sites(graph, own))
        moved = permute(graph.symmetries.axes, b, matched)
        matrices = dict(own.matrices)
        for key, matrix in _matrices(stream_moments(graph, a, moved, data, later), name).items():
            [unit] = [unit for unit in later if (unit.name, unit.site) == key]
            source = axis_index(unit.tree, matched)
            assert source is not None
            matrices[key] = matrix[:, torch.argsort(source)]  # as B has them
        found[name] = Compared(units, matrices)
    return found


def _matrices(moments: Mapping[tuple[str, str], CrossMoments], name: str) -> dict[tuple[str, str], Tensor]:
    return {key: similarities(found, name).cpu() for key, found in moments.items()}


def _last_sites(graph: Graph, compared: Compared) -> dict[str, str]:
    """For each space that was recorded the last site at which it was."""
    found = {(leaf.space, unit.site) for unit in compared.units for leaf in leaves(unit.tree)}
    known = {space.name: [site for site in SITES if (space.name, site) in found] for space in graph.spaces}
    return {name: own[-1] for name, own in known.items() if own}


@dataclass(frozen=True)
class Matching:
    """How well the neurons of one layer match: objectives are means over neurons of the similarity to the partner.

    ``permutation``: for each neuron of A its partner in B; of a space inside of others (heads), for each of all of
    their neurons, head after head.
    """

    permutation: Tensor
    optimal: float
    identity: float
    random: Tensor

    def record(self, *, layer: int | str, at: str, similarity: str) -> Match:
        """As it is recorded; spreads are None for fewer than two random permutations."""
        some = len(self.random) > 0
        own = self.permutation == torch.arange(len(self.permutation))
        return Match(
            layer=layer,
            at=at,
            similarity=similarity,
            optimal=self.optimal,
            identity=self.identity,
            random_mean=float(self.random.mean()) if some else None,
            random_sd=float(self.random.std()) if len(self.random) > 1 else None,
            random_min=float(self.random.min()) if some else None,
            random_max=float(self.random.max()) if some else None,
            share_identity=float(own.double().mean()),
            permutation=self.permutation.tolist(),
        )


def match_space(graph: Graph, compared: Compared, name: str, at: str, random: int, seed: int) -> Matching:
    """The objectives of one space at a site.

    Heads are compared by the best match of what is inside of them, and what is inside under the best match of heads.
    """
    known = families(graph.spaces)
    sites = {space.name: at for space in graph.spaces if at in space.sites}
    together = {leaf.space for unit in compared.units for leaf in leaves(unit.tree) if unit.site == at}
    chosen = [family for family in known if together & set(family.names)]
    family = next(family for family in known if name in family.names)
    start = identity(graph.spaces)
    coupled = [other for other in chosen if other is family or _share_a_unit(compared, at, family, other)]
    found = _ascend(compared, coupled, sites, start) if len(coupled) > 1 else start
    similarity = compared.of(family, found, sites)
    if not family.inner:
        return match_layer(similarity.outer, random, seed)
    if name == family.outer.name:
        neurons = sum(space.size for space in family.inner)
        return match_layer((inner_scores(family, similarity)[0] + similarity.outer) / neurons, random, seed)
    return _match_inner(family, similarity, name, random, seed)


def _share_a_unit(compared: Compared, at: str, one: Family, other: Family) -> bool:
    for unit in compared.units:
        names = {leaf.space for leaf in leaves(unit.tree)}
        if unit.site == at and names & set(one.names) and names & set(other.names):
            return True
    return False


def match_layer(similarity: Tensor, random: int, seed: int) -> Matching:
    """The optimal, identity and ``random`` many random objectives of a similarity matrix (n x n)."""
    similarity = similarity.cpu()
    rows, generator = torch.arange(len(similarity)), torch.Generator().manual_seed(seed)
    best = best_permutation(similarity)
    draws = [similarity[rows, torch.randperm(len(rows), generator=generator)].mean() for _ in range(random)]
    objectives = torch.stack(draws) if draws else torch.zeros(0, dtype=similarity.dtype)
    return Matching(best, float(similarity[rows, best].mean()), float(similarity.diagonal().mean()), objectives)


def _match_inner(family: Family, similarity: Similarity, name: str, random: int, seed: int) -> Matching:
    own, generator = similarity.inner[name], torch.Generator().manual_seed(seed)
    heads, size = own.shape[0], own.shape[2]
    rows = torch.arange(heads)

    def mean(partners: Tensor, orders: Tensor) -> Tensor:
        return own[rows, partners].gather(2, orders[:, :, None]).mean()

    found = solve(family, similarity)
    partners, orders = found[family.outer.name], found[name]
    draws = [
        mean(
            torch.randperm(heads, generator=generator),
            torch.stack([torch.randperm(size, generator=generator) for _ in rows]),
        )
        for _ in range(random)
    ]
    same = torch.arange(size).expand(heads, size)
    return Matching(
        (partners[:, None] * size + orders).flatten(),
        float(mean(partners, orders)),
        float(mean(rows, same)),
        torch.stack(draws) if draws else torch.zeros(0, dtype=own.dtype),
    )


def match_activations(
    graph: Graph,
    a: Mapping[str, Tensor],
    b: Mapping[str, Tensor],
    data: Data,
    at: str = "post_activation",
    similarity: str = "pearson",
) -> Permutation:
    """The permutation of B's neurons that makes them most similar to A's, space by space.

    A space that is not recorded ``at`` this site is compared at the last site that it has; one that is recorded
    nowhere stays as it is.
    """
    sites = sites_at(graph, at)
    return _align(graph, compare(graph, a, b, data, set(sites.values()), (similarity,))[similarity], sites)


def _align(graph: Graph, compared: Compared, sites: Mapping[str, str]) -> Permutation:
    """Each space matched at its site; those without one stay."""
    chosen = [family for family in families(graph.spaces) if any(name in sites for name in family.names)]
    return _ascend(compared, chosen, sites, identity(graph.spaces))


def _ascend(compared: Compared, chosen: Sequence[Family], sites: Mapping[str, str], start: Permutation) -> Permutation:
    """What raises the mean similarities, families that are recorded together one after another."""
    together = [names for unit in compared.units if len(names := {leaf.space for leaf in leaves(unit.tree)}) > 1]
    return ascend(
        chosen,
        lambda family, permutation: compared.of(family, permutation, sites),
        start,
        lambda family, gain, before, after: gain > IMPROVEMENT * family.outer.size,
        lambda family: set().union(*(names for names in together if names & set(family.names))) - set(family.names),
    )


def align_by_activations(
    graph: Graph, a: Mapping[str, Tensor], b: Mapping[str, Tensor], data: Data, parameters: ByActivations
) -> Permutation:
    """The alignment ``activation`` of ``specs.ALIGNMENTS``."""
    return match_activations(graph, a, b, data, parameters.at, parameters.similarity)
