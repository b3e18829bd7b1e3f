"""What trainings cost: relative to each other by their specifications alone, and in seconds by what was measured."""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable, Mapping, Sequence
from statistics import median
from typing import TYPE_CHECKING

from sqlalchemy import select

from nid_cli.data.catalog import samples_of
from nid_cli.errors import NidError
from nid_cli.graphs import graph_of
from nid_cli.registry import groups
from nid_cli.registry.tables import epochs, models
from nid_cli.specs import SYMMETRIES, RunSpec, stable_hash

if TYPE_CHECKING:
    from sqlalchemy import Connection

# A call costs as much as so many multiply-adds of a sample before it has computed anything (0.08 ms, and 8e9 a second,
# forward, backward and step together, as measured on one core for six kinds of networks; all within a quarter).
CALL = 600_000
# Of a file of tensors that was not read.
UNKNOWN_SAMPLES = 10_000
# So many epochs of so many groups give a median.
EPOCHS, GROUPS = 200, 5


def cost_an_epoch(spec: RunSpec, description: str | None = None) -> float:
    """What an epoch costs in multiply-adds of the forward pass, calls counted as so many; from the specification alone.

    Args:
        description: the text of the network, where it is the user's own.
    """
    graph = graph_of(spec, description)
    samples = samples_of(spec.data) or UNKNOWN_SAMPLES
    products = sum(graph.sizes[use.call.name] * use.fan_in for layer in graph.weighted for use in layer.uses)
    steps = math.ceil(samples / (spec.batch_size or samples))
    return float(samples * products + steps * len(graph.calls) * CALL)


def relative_cost(spec: RunSpec, description: str | None = None) -> float:
    """What the training of one model costs, in the unit of :func:`cost_an_epoch`; its epoch 0 is measured too."""
    return (spec.length + 1) * cost_an_epoch(spec, description)


def _alike(spec: RunSpec) -> str:
    """The same for trainings whose epochs should take as long: architecture, data set and batch size."""
    own = {"network": spec.network.canonical(), "data": spec.data.canonical(), "batch_size": spec.batch_size}
    return stable_hash(own | {"gated": SYMMETRIES[spec.symmetry.name].gated})


def seconds_an_epoch(
    connection: Connection, specs: Iterable[RunSpec], descriptions: Mapping[str, str] | None = None
) -> dict[str, float | None]:
    """What an epoch of one model took here, by the hash of the run.

    It is the median of recorded epochs with the same architecture, data set and batch size; where there are none, that
    of what is nearest in cost, scaled; None where nothing was trained here.

    Args:
        descriptions: the texts of the users' own networks, by their hash (``spec.network.graph``).
    """
    texts = descriptions or {}
    asked = list(specs)
    measured: dict[str, float] = {}
    trained: dict[str, list[groups.Group]] = {}
    for group in groups.all_groups(connection):
        try:
            own = group.spec
        except NidError:  # nid db check tells
            continue
        if own.batch_size is not None and len(alike := trained.setdefault(_alike(own), [])) < GROUPS:
            alike.append(group)
    for key, alike in trained.items():
        if (found := _median(connection, [group.id for group in alike])) is not None:
            measured[key] = found
    costs = {key: cost_an_epoch(trained[key][0].spec, trained[key][0].architecture) for key in measured}
    answer: dict[str, float | None] = {}
    for spec in asked:
        key = _alike(spec)
        if key in measured:
            answer[spec.hash] = measured[key]
        elif not measured:
            answer[spec.hash] = None
        else:
            own_cost = cost_an_epoch(spec, texts.get(spec.network.graph or ""))
            nearest = min(costs, key=lambda k: (abs(math.log(costs[k] / own_cost)), k))
            answer[spec.hash] = measured[nearest] * own_cost / costs[nearest]
    return answer


def _median(connection: Connection, group_ids: Sequence[int]) -> float | None:
    """The median seconds of an epoch of these groups, where any was timed; epoch 0 trains nothing."""
    query = (
        select(epochs.c.seconds)
        .join(models, models.c.id == epochs.c.model_id)
        .where(models.c.group_id.in_(group_ids), epochs.c.epoch > 0, epochs.c.seconds.is_not(None))
        .limit(EPOCHS)
    )
    found = list(connection.execute(query).scalars())
    return median(found) if found else None


def time_left(seconds: Iterable[float], workers: int) -> float:
    """When the last of these works is done, where whichever of ``workers`` is free takes the longest that is left."""
    loads = [0.0] * max(1, workers)
    for one in sorted(seconds, reverse=True):
        heapq.heapreplace(loads, loads[0] + one)
    return max(loads)
