"""First and second moments of the neurons of two networks over the same samples, streamed in one pass."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from nid_cli.analysis.catalog import SIMILARITIES
from nid_cli.data.tensors import Data
from nid_cli.errors import NidError
from nid_cli.lazy import resolve
from nid_cli.nets.axes import Leaf, Product, Sum, Tree, leaves
from nid_cli.nets.functional import neurons_last, record
from nid_cli.nets.graph import INPUT, Graph
from nid_cli.nets.positions import positions
from nid_cli.nets.sites import SITES

BATCH = 1024
# Samples (pixels, of a convolution) of one product: float32 sums stay exact enough, and its operands in the cache.
ROWS = 8192
# A neuron whose sd is below this share of its magnitude varies by rounding only: it counts as constant.
CONSTANT = 1e-6


@dataclass
class CrossMoments:
    """First and second moments of the neurons of A and of B over the same samples, and their cross products.

    Sums run over values shifted by the first sample of each neuron, which keeps float32 products accurate where means
    are large; they accumulate in float64. All are O(n^2), however many samples.
    """

    shift_a: Tensor
    shift_b: Tensor
    samples: int
    sum_a: Tensor
    sum_b: Tensor
    square_a: Tensor
    square_b: Tensor
    cross: Tensor

    @classmethod
    def start(cls, a: Tensor, b: Tensor) -> CrossMoments:
        """Empty moments for neurons whose first samples are the first rows of ``a`` and ``b``."""
        n, m = a.shape[1], b.shape[1]
        wide = {"dtype": torch.float64, "device": a.device}
        zeros = [torch.zeros(size, **wide) for size in (n, m, n, m, (n, m))]  # type: ignore[call-overload]
        return cls(a[0].clone(), b[0].clone(), 0, *zeros)

    def add(self, a: Tensor, b: Tensor) -> None:
        """Adds samples: ``a`` (N x n) and ``b`` (N x m)."""
        for rows_a, rows_b in zip(a.split(ROWS), b.split(ROWS), strict=True):
            self._add(rows_a, rows_b)

    def _add(self, a: Tensor, b: Tensor) -> None:
        a, b = a - self.shift_a, b - self.shift_b
        self.samples += len(a)
        # Shifted values of one product lose nothing in float32; the sums over products are float64.
        self.sum_a += a.sum(0)
        self.sum_b += b.sum(0)
        self.square_a += a.square().sum(0)
        self.square_b += b.square().sum(0)
        self.cross += a.T @ b

    def pearson(self) -> Tensor:
        """Correlations (n x m, float64); a constant neuron has correlation 0 with all."""
        return self._covariance() / torch.outer(*self.deviations())

    def covariance(self) -> Tensor:
        """Covariances (n x m, float64); a constant neuron has none."""
        varies_a, varies_b = (own.isfinite() for own in self.deviations())
        return self._covariance() * torch.outer(varies_a, varies_b)

    def deviations(self) -> tuple[Tensor, Tensor]:
        """The standard deviations of A's (n) and of B's neurons (m); infinite where one is constant."""
        count = self.samples
        sides = ((self.shift_a, self.sum_a, self.square_a), (self.shift_b, self.sum_b, self.square_b))
        found = []
        for shift, total, squares in sides:
            variance = (squares - total.square() / count).clamp_min(0) / count
            mean = shift.double() + total / count
            constant = variance <= (CONSTANT * mean.abs()).square()
            found.append(torch.where(constant, torch.inf, variance.sqrt()))
        return found[0], found[1]

    def _covariance(self) -> Tensor:
        return (self.cross - torch.outer(self.sum_a, self.sum_b) / self.samples) / self.samples

    def refuse_overflow(self, name: str) -> None:
        """Raises a NidError where activations overflowed, so that the moments of the layer ``name`` are no numbers."""
        if not all(own.isfinite().all() for own in (self.cross, self.square_a, self.square_b)):
            raise NidError(
                f"the activations of {name} are too large to be compared", "the network has not been trained well"
            )

    def dot(self) -> Tensor:
        """Mean products of the raw values (n x m, float64)."""
        count = self.samples
        shift_a, shift_b = self.shift_a.double(), self.shift_b.double()
        mixed = torch.outer(shift_a, self.sum_b) + torch.outer(self.sum_a, shift_b)
        return (self.cross + mixed) / count + torch.outer(shift_a, shift_b)


def similarities(moments: CrossMoments, similarity: str) -> Tensor:
    """The similarities (n x m, float64) of A's and B's neurons, by a name of ``catalog.SIMILARITIES``."""
    found: Tensor = resolve(SIMILARITIES[similarity])(moments)
    return found


@dataclass(frozen=True)
class Unit:
    """Neurons that are recorded together at a site: those of one space, or all combinations of several (heads x size).

    ``tree`` is made of these spaces alone; ``name`` names them. ``recordings``: the calls whose values have them, the
    axis, and the positions (c, n) of the n neurons on it, c for each. ``beside``: the spaces of other axes of these
    values; where some values have none, these alone are recorded.
    """

    name: str
    site: str
    tree: Leaf | Product
    recordings: list[tuple[str, int, Tensor]]
    beside: frozenset[str]

    def samples(self, values: Mapping[str, Tensor], recording: tuple[str, int, Tensor]) -> Tensor:
        """The samples (rows x n) of one recording: every pixel or token of every sample is one, and every place."""
        call, axis, columns = recording
        rows = neurons_last(values[call], axis)
        if columns.shape == (1, rows.shape[1]):  # the whole axis, in order
            return rows
        return rows[:, columns.to(rows.device)].flatten(0, 1)


def units_of(graph: Graph, sites: Collection[str]) -> list[Unit]:
    """What is recorded at some sites, the neurons of each space (or of several) at each once."""
    found: dict[tuple[Leaf | Product, str], list[tuple[frozenset[str], tuple[str, int, Tensor]]]] = {}
    for space in graph.spaces:
        for site, recordings in space.sites.items():
            if site not in sites:
                continue
            for recording in recordings:
                for tree, start in _parts(recording.tree):
                    own = tuple(dict.fromkeys(leaf.space for leaf in leaves(tree)))
                    if space.name != own[0]:
                        continue  # each part once, with the first of its spaces
                    kept = tuple(dict.fromkeys(leaves(tree)))
                    reduced = kept[0] if len(kept) == 1 else Product(kept)
                    columns = positions(tree, *own)
                    assert columns is not None
                    where = recording.call, recording.axis, start + columns.flatten(1)
                    found.setdefault((reduced, site), []).append((recording.beside, where))
    units = []
    for (tree, site), each in found.items():
        fewest = min((beside for beside, _ in each), key=len)
        name = "+".join(dict.fromkeys(leaf.space for leaf in leaves(tree)))
        units.append(Unit(name, site, tree, [where for beside, where in each if beside == fewest], fewest))
    return units


def sites_at(graph: Graph, at: str) -> dict[str, str]:
    """For each space that is recorded anywhere the site at which it counts: ``at``, or the last that it has."""
    return {
        space.name: at if at in space.sites else [site for site in SITES if site in space.sites][-1]
        for space in graph.spaces
        if space.sites
    }


def _parts(tree: Tree, start: int = 0) -> list[tuple[Tree, int]]:
    """The parts of an axis that lie side by side, without those that are pinned, and where each starts."""
    if not isinstance(tree, Sum):
        return [(tree, start)] if any(True for _ in leaves(tree)) else []
    found = []
    for part in tree.parts:
        found += _parts(part, start)
        start += part.size
    return found


@torch.no_grad()
def stream_moments(
    graph: Graph, a: Mapping[str, Tensor], b: Mapping[str, Tensor], data: Data, units: Collection[Unit]
) -> dict[tuple[str, str], CrossMoments]:
    """Moments of all units, in one pass over the training set.

    Raises:
        NidError: activations overflow, so that their moments are no numbers.

    Returns:
        by (name of the unit, site). Where a unit has several recordings, their samples pool.
    """
    names = tuple(dict.fromkeys(call for unit in units for call, _, _ in unit.recordings))
    moments: dict[tuple[str, str], CrossMoments] = {}
    recorded = sum(graph.sizes[name] for name in names)
    for x, _ in data.batches("train", graph.batch(BATCH, recorded)):
        values_a, values_b = (record(graph, state, {INPUT: x}, names) for state in (a, b))
        for unit in units:
            for recording in unit.recordings:
                u, v = unit.samples(values_a, recording), unit.samples(values_b, recording)
                if (unit.name, unit.site) not in moments:
                    moments[unit.name, unit.site] = CrossMoments.start(u, v)
                moments[unit.name, unit.site].add(u, v)
    for (name, _), found in moments.items():
        found.refuse_overflow(name)
    return moments
