"""What it takes to take networks in, and what running their calls costs over calling their modules.

    python tests/benchmarks/zoo.py [NAME...] [--large]
    python tests/benchmarks/zoo.py --interpreter [--samples 256] [--times 7]

A line a network: spaces, share of parameters moved, the proof's error, seconds of one thread's CPU for each step and in
all, and of the wall; the machine's load beside them. With ``--interpreter``: resnet18 on 64 x 64 pictures, the module
and its calls in turn. Not a test: nothing here passes or fails.
"""

from __future__ import annotations

import argparse
import itertools
import os
import statistics
import time
from collections.abc import Callable

import torch
from torch import nn

from nid_cli.nets.agreement import agree
from nid_cli.nets.bounds import check, plan_of
from nid_cli.nets.example import example
from nid_cli.nets.export import export
from nid_cli.nets.interpreter import run
from nid_cli.nets.proof import prove, symmetries_of
from tests.nets.zoo import LARGE, NETWORKS, Known, pictures

COLUMNS = (
    "network",
    "spaces",
    "moved",
    "error",
    "agree",
    "export s",
    "derive s",
    "proof s",
    "agree s",
    "CPU s",
    "wall s",
)


def row(name: str, known: Known) -> str:
    """One network taken in, as a line of the table."""
    torch.manual_seed(0)
    module = known.build()
    began, marks = time.perf_counter(), [time.process_time()]
    described, state, _, alike = export(module, [known.input])
    check(described)
    marks.append(time.process_time())
    symmetries = symmetries_of(described)
    marks.append(time.process_time())
    proof = prove(described, state, symmetries)
    marks.append(time.process_time())
    found = agree(module, described, state, example(described.inputs, 4), training=alike)
    marks.append(time.process_time())
    steps = [after - before for before, after in itertools.pairwise(marks)]
    seconds = (*steps, marks[-1] - marks[0], time.perf_counter() - began)
    worst = max(found.evaluation, found.training, found.statistics)
    figures = (f"{len(symmetries.spaces)}", f"{proof.moved:.3f}", f"{proof.error:.0e}", f"{worst:.0e}")
    return "\t".join((name, *figures, *(f"{value:.1f}" for value in seconds), f"load {os.getloadavg()[0]:.1f}"))


def interpreter(samples: int, times: int) -> str:
    """Median seconds of the module and of its calls, forward in evaluation, in turn."""
    module = NETWORKS["resnet18"].build().eval()
    described, state, *_ = export(module, [pictures(64)])
    plan, (given,) = plan_of(described), example(described.inputs, samples)
    ways: dict[str, Callable[[], object]] = {
        "module": lambda: module(given),
        "calls": lambda: run(plan, state, {described.inputs[0].name: given}, (described.output,)),
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    with torch.no_grad():
        for _ in range(times + 1):
            for name, way in ways.items():
                began = time.perf_counter()
                way()
                seconds[name].append(time.perf_counter() - began)
    medians = {name: statistics.median(taken[1:]) for name, taken in seconds.items()}
    share = medians["calls"] / medians["module"] - 1
    said = ", ".join(f"{name} {median:.3f} s" for name, median in medians.items())
    return f"resnet18, {samples} pictures of 64 x 64: {said}; {100 * share:+.1f} %; load {os.getloadavg()[0]:.1f}"


def main() -> None:
    """Prints the table, or the comparison."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", choices=[*NETWORKS, *LARGE, []])
    parser.add_argument("--large", action="store_true", help="networks of full depth too")
    parser.add_argument("--interpreter", action="store_true")
    parser.add_argument("--samples", type=int, default=256)
    parser.add_argument("--times", type=int, default=7)
    given = parser.parse_args()
    torch.set_num_threads(1)
    if given.interpreter:
        print(interpreter(given.samples, given.times))
        return
    export(nn.Conv2d(3, 3, 1), [pictures(4)])  # torch loads its tracer
    known = NETWORKS | LARGE
    print("\t".join(COLUMNS))
    for name in given.names or [*NETWORKS, *(LARGE if given.large else ())]:
        print(row(name, known[name]), flush=True)


if __name__ == "__main__":
    main()
