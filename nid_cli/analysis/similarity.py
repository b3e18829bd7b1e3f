"""The similarity of two networks' predictions and layers (docs/science.md, 12): one pass over the data for all."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from nid_cli.analysis.cka import Dependence, LayerPair, cka
from nid_cli.analysis.moments import BATCH, Unit, sites_at, units_of
from nid_cli.analysis.predictions import PredictionTally
from nid_cli.data.tensors import Data
from nid_cli.nets.axes import Leaf, Product, leaves
from nid_cli.nets.functional import record
from nid_cli.nets.graph import INPUT, Graph
from nid_cli.records.similarity import Predicted
from nid_cli.specs import SPLITS, derive_seed

# What a unit is, for one network.
Place = tuple[Leaf | Product, str]
# For each unit of a network the dependence of its neurons with themselves.
Own = Mapping[Place, Dependence]


@dataclass(frozen=True)
class Measured:
    """What was found of a pair: predictions by split, CKA (streamed, debiased) by unit, and each network's own."""

    predictions: Mapping[str, Predicted]
    layers: Mapping[Place, tuple[float | None, float | None]]
    own: tuple[Own, Own]


def place(unit: Unit) -> Place:
    """What tells a unit from the others of its network."""
    return unit.tree, unit.site


def layers_at(graph: Graph, at: str) -> list[Unit]:
    """The layers that are compared at a site: each where it counts, see ``moments.sites_at``."""
    sites = sites_at(graph, at)
    units = units_of(graph, set(sites.values()))
    return [unit for unit in units if any(sites.get(leaf.space) == unit.site for leaf in leaves(unit.tree))]


def label_of(graph: Graph, unit: Unit) -> int | str:
    """What records call a unit: by its space, or all of its spaces."""
    labels = {space.name: space.label for space in graph.spaces}
    own = [labels[space] for space in dict.fromkeys(leaf.space for leaf in leaves(unit.tree))]
    return own[0] if len(own) == 1 else "+".join(map(str, own))


@torch.no_grad()
def measure(
    graph: Graph,
    a: Mapping[str, Tensor],
    b: Mapping[str, Tensor],
    data: Data,
    units: Sequence[Unit],
    known: tuple[Own, Own] = ({}, {}),
    advance: Callable[[float], None] = lambda samples: None,
) -> Measured:
    """Predictions on all splits, and the CKA of ``units`` on the training split.

    Units whose samples correspond only once another space is matched (``Unit.beside``) are left out.

    Args:
        known: of each network what was found before; it is not measured again.
        advance: told the samples done.

    Raises:
        NidError: activations overflow.
    """
    pairs = {
        place(unit): LayerPair(
            unit.name,
            derive_seed(0, "similarity", unit.name, unit.site),
            known[0].get(place(unit)),
            known[1].get(place(unit)),
        )
        for unit in units
        if not unit.beside
    }
    recorded = [unit for unit in units if place(unit) in pairs]
    predictions = {}
    for split in SPLITS:
        own = recorded if split == "train" else []
        calls = tuple(dict.fromkeys(call for unit in own for call, _, _ in unit.recordings))
        tally = PredictionTally()
        for x, targets in data.batches(split, graph.batch(BATCH, sum(graph.sizes[name] for name in calls))):
            wanted = tuple(dict.fromkeys((*calls, graph.output)))
            values_a, values_b = (record(graph, state, {INPUT: x}, wanted) for state in (a, b))
            tally.add(values_a[graph.output], values_b[graph.output], targets)
            for unit in own:
                for recording in unit.recordings:
                    pairs[place(unit)].add(unit.samples(values_a, recording), unit.samples(values_b, recording))
            advance(len(targets))
        predictions[split] = tally.result()
    layers: dict[Place, tuple[float | None, float | None]] = {}
    found: tuple[dict[Place, Dependence], dict[Place, Dependence]] = {}, {}
    for where, pair in pairs.items():
        joint, (own_a, own_b) = pair.joint(), pair.own()
        found[0][where], found[1][where] = own_a, own_b
        layers[where] = (
            cka(joint.streamed, own_a.streamed, own_b.streamed),
            cka(joint.debiased, own_a.debiased, own_b.debiased),
        )
    return Measured(predictions, layers, found)
