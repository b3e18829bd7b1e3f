"""The anatomy of a barrier (docs/science.md, 17): what merging weights costs and what merging logits gains, where along
depth representations stop merging (Zhou et al. 2023) and lose their variance (Jordan et al. 2023), and the barrier that
is left once each network's confidence is fitted. All in the passes in which the curve is measured."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import torch
from torch import Tensor

from nid_cli.analysis import calibration
from nid_cli.analysis.layer_merging import LayerMerging
from nid_cli.nets.functional import State, record
from nid_cli.nets.graph import INPUT, Graph
from nid_cli.nets.permutation import Permutation, permute
from nid_cli.records.lmc import Curve, Lmc

# An interpolated network: the place of its end among the ends, and its weight.
Network = tuple[int, float]
# The networks A and B themselves, beside those in between.
A, B = (-1, 0.0), (-1, 1.0)
# Layers are compared on these samples, as in ``nid match``; temperatures are fitted on those.
LAYERS_ON, FITTED_ON = "train", "val"


class End(Protocol):
    """B as one end of a segment, see ``lmc.Endpoint``."""

    @property
    def permutation(self) -> Permutation | None:
        """What made it of B."""


@dataclass
class Exchange:
    """Sums over the answers of one split, and with ``each`` the values of all of them, for one network."""

    each: bool
    count: int = 0
    gain: Tensor | float = 0.0
    cost: Tensor | float = 0.0
    calibrated: Tensor | float = 0.0
    gains: list[Tensor] = field(default_factory=list)
    costs: list[Tensor] = field(default_factory=list)

    def add(self, gain: Tensor, cost: Tensor) -> None:
        """Adds the values of a batch's answers."""
        self.count += len(gain)
        self.gain = self.gain + gain.sum()
        self.cost = self.cost + cost.sum()
        if self.each:
            self.gains.append(gain.cpu())
            self.costs.append(cost.cpu())


@dataclass
class _Batch:
    """What all networks of a batch are held against."""

    split: str
    truth: Tensor
    answers: tuple[Tensor, Tensor]
    partitions: tuple[Tensor, Tensor]
    targets: Tensor


class Anatomy:
    """The anatomy of the segments from A to several ends, measured while they are walked.

    Each pass over the data begins with the validation split. Of each batch A and B are run first (``begin``), then
    whatever networks lie in between are shown (``add``); ``finish`` ends a split.
    """

    def __init__(self, graph: Graph, a: State, b: State, ends: Sequence[End], each: bool = False) -> None:
        """``each``: keep the values of all single answers too."""
        self.graph, self.a, self.b, self.ends, self.each = graph, a, b, ends, each
        self.layers = LayerMerging(graph)
        self.exchanges: dict[tuple[str, Network], Exchange] = {}
        self.sharpness: dict[Network, Tensor] = {}
        self._held: dict[Network, list[Tensor]] = {}
        self._measured: set[tuple[str, Network]] = set()
        self._truths: list[Tensor] = []
        self._batch: _Batch | None = None

    def calls(self, split: str) -> tuple[str, ...]:
        """The values of each network that are looked at."""
        return tuple(dict.fromkeys((self.graph.output, *(self.layers.calls if split == LAYERS_ON else ()))))

    def kept(self, split: str) -> int:
        """Numbers a sample that are there at once, where networks run one by one."""
        return (3 + len(self.ends)) * sum(self.graph.sizes[name] for name in self.calls(split))

    def held(self, samples: int) -> int:
        """Bytes that each network takes until its temperature is fitted on so many samples."""
        return 4 * 8 * samples * self.graph.sizes[self.graph.output]

    def begin(
        self, split: str, x: Tensor, targets: Tensor, wanted: Collection[int]
    ) -> dict[str, tuple[Tensor, Tensor]]:
        """Runs A and B on a batch, for the ends in ``wanted``; returns the values of the first layer that it computed,
        for A and B, by name (nothing where the first layer is none that segments share)."""
        entry = self.graph.entry
        calls = self.calls(split)
        asked = tuple(dict.fromkeys((*calls, *((entry.name,) if entry else ()))))
        from_a, from_b = (record(self.graph, state, {INPUT: x}, asked) for state in (self.a, self.b))
        answers = [calibration.answers(own[self.graph.output], targets) for own in (from_a, from_b)]
        truth = calibration.truths(targets)
        if split == LAYERS_ON:
            of_ends = {index: self._reordered(from_b, self.ends[index].permutation) for index in wanted}
            self.layers.begin(from_a, of_ends, len(x))
        self._batch = _Batch(
            split,
            truth,
            (answers[0], answers[1]),
            (torch.logsumexp(answers[0], -1), torch.logsumexp(answers[1], -1)),
            targets,
        )
        if split == FITTED_ON:
            self._truths.append(truth)
        for network, own in zip((A, B), answers, strict=True):
            nothing = torch.zeros(len(own), dtype=torch.float64, device=own.device)
            self._answered(network, own, nothing, nothing)
        return {} if entry is None else {entry.name: (from_a[entry.name], from_b[entry.name])}

    def _reordered(self, values: Mapping[str, Tensor], moved: Permutation | None) -> Mapping[str, Tensor]:
        """The values of the permuted B: those of B in another order."""
        own = {name: values[name] for name in self.layers.calls}
        if moved is None:
            return own
        axes = self.graph.symmetries.value_axes
        return {name: permute({name: axes[name]}, {name: value}, moved)[name] for name, value in own.items()}  # type: ignore[dict-item]

    def add(self, network: Network, values: Mapping[str, Tensor]) -> None:
        """Looks at the values of one network in between on the batch that was begun."""
        batch, weight = self._batch, network[1]
        assert batch is not None
        own = calibration.answers(values[self.graph.output], batch.targets)
        (from_a, from_b), (log_a, log_b) = batch.answers, batch.partitions
        chord = torch.lerp(from_a, from_b, weight)
        of_chord = torch.logsumexp(chord, -1)
        gain = (1 - weight) * log_a + weight * log_b - of_chord
        apart = calibration.at_truth(own - chord, batch.truth)
        self._answered(network, own, gain, torch.logsumexp(own, -1) - of_chord - apart)
        if batch.split == LAYERS_ON:
            self.layers.add(network, values)

    def _answered(self, network: Network, own: Tensor, gain: Tensor, cost: Tensor) -> None:
        batch = self._batch
        assert batch is not None
        if (batch.split, network) in self._measured:
            return
        exchange = self.exchanges.setdefault((batch.split, network), Exchange(self.each))
        exchange.add(gain, cost)
        if batch.split == FITTED_ON:
            self._held.setdefault(network, []).append(own)
        else:
            losses = calibration.losses(own, batch.truth, self.sharpness[network])
            exchange.calibrated = exchange.calibrated + losses.sum()

    def finish(self, split: str) -> None:
        """Fits the temperatures of the pass's networks, once all validation samples were seen. A and B, which run in
        each pass, are not measured again."""
        self._batch = None
        self._measured |= {(split, A), (split, B)}
        if split == LAYERS_ON:
            self.layers.finish()
        if split != FITTED_ON:
            return
        truth = torch.cat(self._truths)
        # Network by network: in float64, all at once would take many times the memory of their logits.
        for network, held in self._held.items():
            own = torch.cat(held)
            fitted = calibration.fit_sharpness(own.unsqueeze(0), truth)[0]
            self.sharpness[network] = fitted
            self.exchanges[split, network].calibrated = calibration.losses(own, truth, fitted).sum()
        self._held, self._truths = {}, []

    def complete(self, found: Lmc, index: int) -> Lmc:
        """A record with the anatomy of the segment to the end ``index``, at the record's lambdas and at 1/2."""
        weights = found.lambdas or []
        networks = [_network(index, weight) for weight in weights]
        splits = {"train": found.train, "val": found.val, "test": found.test}
        parts = {split: self._part(split, curve, networks) for split, curve in splits.items() if curve is not None}
        layers = self.layers.result(index, weights)
        each = {}
        if self.each:
            for name in ("gains", "costs"):
                each[name] = {
                    split: torch.stack([torch.cat(getattr(self.exchanges[split, n], name)) for n in networks]).numpy()
                    for split in parts
                }
        return replace(
            found,
            anatomy=True,
            train=parts["train"],
            val=parts["val"],
            test=parts["test"],
            inverse_temperature=[float(self.sharpness[network]) for network in networks],
            layers=layers.labels,
            feature_connectivity=layers.connectivity,
            feature_connectivity_mid=layers.connectivity_mid,
            variance_ratio=layers.ratio,
            variance_ratio_mid=layers.ratio_mid,
            ensemble_gain_by_sample=each.get("gains"),
            merging_cost_by_sample=each.get("costs"),
        )

    def _part(self, split: str, curve: Curve, networks: Sequence[Network]) -> Curve:
        own = [self.exchanges[split, network] for network in networks]
        calibrated = [float(one.calibrated) / one.count for one in own]
        first, last = calibrated[0], calibrated[-1]
        rises = [
            value - ((1 - weight) * first + weight * last)
            for (_, weight), value in zip(networks, calibrated, strict=True)
        ]
        return replace(
            curve,
            ensemble_gain=[float(one.gain) / one.count for one in own],
            merging_cost=[float(one.cost) / one.count for one in own],
            calibrated_loss=calibrated,
            calibrated_loss_barrier=float(torch.tensor(rises, dtype=torch.float64).max()),
        )


def _network(index: int, weight: float) -> Network:
    return {0.0: A, 1.0: B}.get(weight, (index, weight))
