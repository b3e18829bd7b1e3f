"""Models that train stacked beside one, and beside as many one by one, on a device:

    python tests/benchmarks/stacks.py --device cuda [--models 16] [--samples N] [--rounds 3] [--only mlp]

Each round times one epoch of one model, one of each of the models one by one, and one of all of them stacked, on random
samples; the medians count. ``images/s`` is of the stack, all models together. Then the interpolated networks of a pair
(``nid lmc``), one by one and stacked. Peak memory of the stack, and what ``training.memory`` said that it would be, are
of the device (on the CPU only what was said). The last column is what the machine did besides.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from nid_cli.analysis.lmc import Endpoint, segments
from nid_cli.data.tensors import Data, Split
from nid_cli.graphs import graph_of
from nid_cli.nets.graph import Graph
from nid_cli.nets.stackable import stackable
from nid_cli.nets.symmetry import Constraint, constraint, draw_fixed, initial_state, rule_of
from nid_cli.recipes import resolve
from nid_cli.specs import RunSpec
from nid_cli.training.loop import Snapshot, train_model
from nid_cli.training.memory import bytes_of, how_many
from nid_cli.training.stacked import train_stacked

# The paper's, with their fixed entries.
NETWORKS: dict[str, dict[str, Any]] = {
    "mlp": {"dataset": "mnist", "symmetry": "w"},
    "resnet": {"arch": "resnet", "dataset": "cifar10", "depth": 20, "width": 8, "symmetry": "w"},
    "vit": {"arch": "vit", "symmetry": "w"},
    "gpt": {"arch": "gpt", "dataset": "grammar", "symmetry": "w"},
}
SAMPLES = {"mlp": 54_000, "resnet": 4096, "vit": 1437, "gpt": 4000}
WEIGHTS = [i / 24 for i in range(1, 24)]


@dataclass(frozen=True)
class Group:
    """Models of one run on a device, at their start."""

    graph: Graph
    spec: RunSpec
    data: Data
    constraint: Constraint
    states: list[dict[str, Tensor]]

    def alone(self, place: int) -> Iterator[Any]:
        """The epochs of one model."""
        start = Snapshot(0, self.states[place])
        return train_model(self.graph, self.spec, self.data, self.constraint, {}, start, place)

    def together(self) -> Iterator[Any]:
        """The epochs of all, stacked."""
        starts = [Snapshot(0, state) for state in self.states]
        seeds = range(len(starts))
        return train_stacked(self.graph, self.spec, self.data, self.constraint, {}, starts, seeds)


def group(name: str, models: int, samples: int, device: torch.device) -> Group:
    """Models of a network on random samples; the splits that training evaluates are one sample each."""
    spec, _ = resolve({"epochs": 1000, **NETWORKS[name]})
    graph, rule, kappa = graph_of(spec), rule_of(spec.symmetry.name), spec.symmetry.kappa
    vocabulary, shape = graph.description.inputs[0].vocabulary, (samples, *graph.input_shape)
    inputs = torch.randint(vocabulary, shape) if vocabulary else torch.randn(shape)
    targets = torch.randint(graph.outputs, shape if graph.by_position else (samples,))
    one = Split(inputs[:1], targets[:1])
    fixed = draw_fixed(rule, graph, spec.symmetry.num_fixed, 1)
    states = [initial_state(rule, graph, fixed, kappa, seed) for seed in range(models)]
    return Group(
        graph,
        spec,
        Data(Split(inputs, targets), one, one).to(device),
        constraint(rule, graph, fixed, kappa).to(device),
        [{key: tensor.to(device) for key, tensor in state.items()} for state in states],
    )


def timed(work: Callable[[], object], device: torch.device) -> float:
    """Seconds until the device has done it."""
    _wait(device)
    began = time.perf_counter()
    work()
    _wait(device)
    return time.perf_counter() - began


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def trainings(name: str, own: Group, rounds: int, device: torch.device) -> str:
    """A row: the network, models, seconds an epoch of one, of all one by one, of all stacked; ratios; memory."""
    models, samples = len(own.states), len(own.data.train)
    alone, in_turn = _one_by_one(own, rounds, device)
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device) if device.type == "cuda" else 0
    stack = own.together()
    next(stack), next(stack)
    stacked = statistics.median(timed(partial(next, stack), device) for _ in range(rounds))
    peak = f"{(torch.cuda.max_memory_allocated(device) - before) / 2**20:.0f}" if device.type == "cuda" else "-"
    said = models * bytes_of(own.graph, own.data, own.spec) / 2**20
    values = (f"{alone:.3f}", f"{in_turn:.3f}", f"{stacked:.3f}", f"{stacked / alone:.2f}", f"{in_turn / stacked:.2f}")
    return "\t".join((name, str(models), *values, f"{models * samples / stacked:.0f}", peak, f"{said:.0f}", _load()))


def _one_by_one(own: Group, rounds: int, device: torch.device) -> tuple[float, float]:
    """Seconds an epoch of one model, and of each of them in turn."""
    events = [own.alone(place) for place in range(len(own.states))]
    for each in events:
        next(each), next(each)  # what is compiled and allocated once
    taken = [[timed(partial(next, each), device) for each in events] for _ in range(rounds)]
    return statistics.median(row[0] for row in taken), statistics.median(map(sum, taken))


def interpolations(name: str, own: Group, rounds: int, device: torch.device) -> str:
    """A row: the network, interpolated networks, seconds of all one by one and stacked, their ratio."""
    a, b = own.states[:2]

    def measure(stacked: bool) -> float:
        work = partial(segments, own.graph, a, b, [Endpoint(b)], WEIGHTS, own.data, stacked=stacked)
        work()
        return statistics.median(timed(work, device) for _ in range(rounds))

    in_turn, stacked = measure(False), measure(True)
    values = (f"{in_turn:.3f}", f"{stacked:.3f}", f"{in_turn / stacked:.2f}")
    return "\t".join((name, str(len(WEIGHTS)), *values, _load()))


def _load() -> str:
    return f"{os.getloadavg()[0]:.1f}"


def main() -> None:
    """Prints a row for each network, twice."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--models", type=int, default=16)
    parser.add_argument("--samples", type=int)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default=",".join(NETWORKS))
    given = parser.parse_args()
    device = torch.device(given.device)
    torch.set_num_threads(1)
    free = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else 2**32
    groups = {
        name: group(name, max(2, given.models), given.samples or SAMPLES[name], device)
        for name in given.only.split(",")
    }
    for name, own in groups.items():
        reason = stackable(own.graph) or f"{how_many(own.graph, own.data, own.spec, free)} fit"
        print(f"# {name}: {own.graph.parameter_count} parameters; {reason} into {free / 2**30:.1f} GiB")
    print("network\tmodels\tone (s)\tone by one (s)\tstacked (s)\tstacked/one\tgain\timages/s\tpeak MB\tsaid MB\tload")
    for name, own in groups.items():
        print(trainings(name, own, given.rounds, device), flush=True)
    print("lmc\tnetworks\tone by one (s)\tstacked (s)\tgain\tload")
    for name, own in groups.items():
        print(interpolations(name, own, given.rounds, device), flush=True)


if __name__ == "__main__":
    main()
