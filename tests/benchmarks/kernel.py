"""The tangent kernel beside a loop of one backward pass a sample and output, each in a process of its own:

    python tests/benchmarks/kernel.py [--only mlp] [--samples 100] [--threads 1]

Networks start at random, and read random samples of MNIST's shape. Both ways are in float64. Seconds are those of the
kernel alone, without imports; peak memory is of the whole process, the imports (the last column) in it. The loop holds
the gradients of one output at a time, of all samples.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

import torch
from torch import Tensor

from nid_cli.analysis.class_samples import Samples
from nid_cli.analysis.tangent_kernel import tangent_kernel
from nid_cli.analysis.tangent_network import TangentNetwork, in_double
from nid_cli.graphs import graph_of
from nid_cli.nets.graph import INPUT
from nid_cli.nets.interpreter import run
from nid_cli.nets.symmetry import constraint, draw_fixed, initial_state, rule_of
from nid_cli.recipes import resolve

NETWORKS: dict[str, dict[str, Any]] = {
    "mlp": {"arch": "mlp", "symmetry": "standard"},
    "w-mlp": {"arch": "mlp", "symmetry": "w"},
    "resnet8": {"arch": "resnet", "symmetry": "standard", "depth": 8, "width": 1},
    "vit": {"arch": "vit", "symmetry": "standard"},
}


def setting(name: str, samples: int) -> tuple[TangentNetwork, Samples]:
    """A network of the recipe of MNIST at its start, and random samples."""
    spec = resolve({"dataset": "mnist", **NETWORKS[name]})[0]
    graph, rule, kappa = graph_of(spec), rule_of(spec.symmetry.name), spec.symmetry.kappa
    fixed = draw_fixed(rule, graph, spec.symmetry.num_fixed, 0)
    masks = {}
    for weight, (index, _) in constraint(rule, graph, fixed, kappa).pinned.items():
        masks[weight] = torch.ones(graph.parameters[weight], dtype=torch.bool)
        masks[weight].view(-1)[index] = False
    network = TangentNetwork(graph, initial_state(rule, graph, fixed, kappa, 1), masks)
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(samples, *graph.input_shape, generator=generator, dtype=torch.float64)
    return network, Samples(inputs)


def loop(network: TangentNetwork, samples: Samples) -> Tensor:
    """The kernel by one backward pass a sample and output."""
    graph = network.graph
    leaves = {name: network.state[name].clone().requires_grad_() for name in graph.trained}
    kernel = torch.zeros(len(samples), len(samples), dtype=torch.float64)
    with in_double():
        for output in range(graph.outputs):
            rows = []
            for x in samples.inputs:
                values = run(network.plan, network.state | leaves, {INPUT: x.unsqueeze(0)}, (graph.output,))
                found = torch.autograd.grad(values[graph.output][0, output], list(leaves.values()))
                parts = zip(leaves, found, strict=True)
                rows.append(torch.cat([(own * network.trainable.get(name, 1)).flatten() for name, own in parts]))
            gradients = torch.stack(rows)
            kernel += gradients @ gradients.T
            del rows, gradients
    return kernel


WAYS: dict[str, Callable[[TangentNetwork, Samples], Tensor]] = {"structure": tangent_kernel, "loop": loop}


def _measure(name: str, way: str, samples: int, threads: int, into: Connection) -> None:
    torch.set_num_threads(threads)
    network, drawn = setting(name, samples)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
    start = time.perf_counter()
    kernel = WAYS[way](network, drawn)
    seconds = time.perf_counter() - start
    into.send((seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10, before, kernel.numpy()))


def measured(name: str, way: str, samples: int, threads: int) -> tuple[float, float, float, Tensor]:
    """Seconds, MiB at the peak and before, and the kernel."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=_measure, args=(name, way, samples, threads, there))
    process.start()
    seconds, peak, before, kernel = here.recv()
    process.join()
    return seconds, peak, before, torch.from_numpy(kernel)


def main() -> None:
    """Prints a line for each network and way."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=list(NETWORKS))
    parser.add_argument("--samples", type=int, default=100)
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    print(
        f"{'network':10}{'way':12}{'seconds':>10}{'peak MiB':>10}{'before':>8}{'times':>8}{'difference':>12}",
        flush=True,
    )
    for name in [given.only] if given.only else NETWORKS:
        found = {way: measured(name, way, given.samples, given.threads) for way in WAYS}
        slow = found["loop"]
        for way, (seconds, peak, before, kernel) in found.items():
            error = float((kernel - slow[3]).norm() / slow[3].norm())
            print(
                f"{name:10}{way:12}{seconds:10.2f}{peak:10.0f}{before:8.0f}{slow[0] / seconds:8.1f}{error:12.1e}",
                flush=True,
            )


if __name__ == "__main__":
    main()
