"""How far the hidden layers of interpolated networks are from the interpolated layers, and how much of their variance
is left (docs/science.md, 17); streamed over batches in float64."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from nid_cli.analysis.moments import CONSTANT, Unit
from nid_cli.analysis.similarity import label_of, layers_at
from nid_cli.nets.calls import Batch
from nid_cli.nets.graph import Graph
from nid_cli.nets.sites import ACTIVATION, LINEAR

# An interpolated network: the place of its end, and its weight.
Network = tuple[int, float]


class Deviation:
    """Standard deviations of the neurons of a layer over samples that come in batches."""

    def __init__(self) -> None:
        self.count = 0
        self.shift = self.total = self.squares = torch.empty(0)

    def add(self, rows: Tensor) -> None:
        """Adds samples (rows x n); sums run over values shifted by the first sample, and accumulate in float64."""
        if not self.count:
            self.shift = rows[0].clone()
            self.total = self.squares = torch.zeros(rows.shape[1], dtype=torch.float64, device=rows.device)
        shifted = rows - self.shift
        self.count += len(rows)
        self.total = self.total + shifted.sum(0, dtype=torch.float64)
        self.squares = self.squares + shifted.square().sum(0, dtype=torch.float64)

    def result(self) -> Tensor:
        """One for each neuron (n, float64): 0 where it varies by rounding alone."""
        variance = (self.squares - self.total.square() / self.count).clamp_min(0) / self.count
        mean = self.shift.double() + self.total / self.count
        return torch.where(variance <= (CONSTANT * mean).square(), 0.0, variance.sqrt())


class Cosine:
    """The mean cosine of two vectors over samples; those of which one is zero are left out."""

    def __init__(self) -> None:
        self.total: Tensor | float = 0.0
        self.count: Tensor | int = 0

    def add(self, u: Tensor, v: Tensor) -> None:
        """Adds samples (rows x n each)."""
        product, uu, vv = ((x * y).sum(1, dtype=torch.float64) for x, y in ((u, v), (u, u), (v, v)))
        lengths = uu.sqrt() * vv.sqrt()
        directed = lengths != 0
        self.total = self.total + torch.where(directed, product / lengths, 0.0).clamp(-1, 1).sum()
        self.count = self.count + directed.sum()

    def result(self) -> float | None:
        """None where no sample has one."""
        return float(self.total) / int(self.count) if int(self.count) else None


@dataclass(frozen=True)
class Layers:
    """By layer: its label, and at each lambda (and at 1/2) the connectivity of its features and its variance ratio."""

    labels: list[int | str]
    connectivity: list[list[float | None]]
    connectivity_mid: list[float | None]
    ratio: list[list[float | None]]
    ratio_mid: list[float | None]


@dataclass
class _Unit:
    """One layer: where its features and its pre-activations are recorded, and what was seen of them."""

    features: Unit
    before: Unit | None
    cosines: dict[Network, Cosine] = field(default_factory=dict)
    deviations: dict[Network, Deviation] = field(default_factory=dict)


class LayerMerging:
    """All hidden layers of the interpolated networks of one pair, with as many ends as there are."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        before = {unit.tree: unit for unit in layers_at(graph, LINEAR)}
        self.units = [_Unit(features, before.get(features.tree)) for features in layers_at(graph, ACTIVATION)]
        units = [unit for own in self.units for unit in (own.features, own.before) if unit is not None]
        self.calls = tuple(dict.fromkeys(call for unit in units for call, _, _ in unit.recordings))
        self._measured: set[Network] = set()
        self._from_a: Mapping[str, Tensor] = {}
        self._from_ends: Mapping[int, Mapping[str, Tensor]] = {}
        self._samples = 0

    def finish(self) -> None:
        """All samples were seen of A and of the ends that were begun with: they are not measured again."""
        self._measured |= {(-1, 0.0), *((index, 1.0) for index in self._from_ends)}
        self._from_a, self._from_ends = {}, {}

    def begin(self, from_a: Mapping[str, Tensor], from_ends: Mapping[int, Mapping[str, Tensor]], samples: int) -> None:
        """The values of A and of the ends, by their places, on a batch of so many samples."""
        self._from_a, self._from_ends, self._samples = from_a, from_ends, samples
        for index, values in from_ends.items():
            self._vary((index, 1.0), values)
        self._vary((-1, 0.0), from_a)

    def _vary(self, network: Network, values: Mapping[str, Tensor]) -> None:
        for unit in self.units:
            if unit.before is None or network in self._measured:
                continue
            deviation = unit.deviations.setdefault(network, Deviation())
            for recording in unit.before.recordings:
                deviation.add(unit.before.samples(values, recording))

    def add(self, network: Network, values: Mapping[str, Tensor]) -> None:
        """The values of a network in between on that batch."""
        index, weight = network
        self._vary(network, values)
        for unit in self.units:
            cosine = unit.cosines.setdefault(network, Cosine())
            for recording in unit.features.recordings:
                own, from_a, from_end = (
                    self._rows(unit.features, recording, of) for of in (values, self._from_a, self._from_ends[index])
                )
                cosine.add(own, torch.lerp(from_a, from_end, weight))

    def _rows(self, unit: Unit, recording: tuple[str, int, Tensor], values: Mapping[str, Tensor]) -> Tensor:
        """Features (rows x numbers): a row for each sample, all its pixels or tokens together; for each position where
        the network answers by position."""
        if self.graph.by_position:
            return unit.samples(values, recording)
        call, axis, columns = recording
        value = values[call]
        shape = self.graph.description.by_name[call].shape or ()
        batch = next((at for at, size in enumerate(shape) if isinstance(size, Batch)), 0)
        value = value.movedim((batch, axis), (0, -1))
        if columns.shape != (1, value.shape[-1]):  # not the whole axis, in order
            value = value[..., columns.flatten().to(value.device)]
        return value.reshape(self._samples, -1)

    def result(self, index: int, weights: Sequence[float]) -> Layers:
        """What was found on the segment to the end ``index``."""
        inner = [(index, weight) for weight in weights]
        middle = (index, 0.5)
        connectivity = [{n: _distance(cosine) for n, cosine in unit.cosines.items()} for unit in self.units]
        ratio = []
        for unit in self.units:
            sd = {n: deviation.result() for n, deviation in unit.deviations.items()}
            own = {n: _ratio(sd, n, index) for n in sd if n[0] == index}
            ratio.append(own)
        return Layers(
            labels=[label_of(self.graph, unit.features) for unit in self.units],
            connectivity=[[_at(own, n, middle, 0.0) for n in inner] for own in connectivity],
            connectivity_mid=[own[middle] for own in connectivity],
            ratio=[[_at(own, n, middle, 1.0) for n in inner] for own in ratio],
            ratio_mid=[own.get(middle) for own in ratio],
        )


def _distance(cosine: Cosine) -> float | None:
    found = cosine.result()
    return None if found is None else 1 - found


def _ratio(sd: Mapping[Network, Tensor], network: Network, index: int) -> float | None:
    """The mean over neurons of sd / chord of the ends' sds; those that are constant in both ends are left out."""
    chord = torch.lerp(sd[-1, 0.0], sd[index, 1.0], network[1])
    alive = chord > 0
    return float((sd[network] / chord)[alive].mean()) if alive.any() else None


def _at(found: Mapping[Network, float | None], network: Network, middle: Network, end: float) -> float | None:
    """The value there; that of the ends is known, where the layer has any."""
    if network[1] in (0, 1):
        return None if found.get(middle) is None else end
    return found.get(network)
