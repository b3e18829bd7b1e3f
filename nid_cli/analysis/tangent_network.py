"""A network as tangent kernels see it (docs/science.md, 13): in float64, and the gradients of each sample's outputs.

Gradients of weighted layers are outer products: only their factors are made, what the neurons read and the gradient of
what they compute, both at once for all samples. Those of all other parameters (biases, norms, tables) are small, and
made in full.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from torch.func import vmap
from torch.nn.attention import SDPBackend, sdpa_kernel

from nid_cli.analysis.class_samples import Samples
from nid_cli.nets.bounds import plan_of
from nid_cli.nets.calls import Batch, Call
from nid_cli.nets.graph import INPUT, Graph
from nid_cli.nets.interpreter import run
from nid_cli.nets.layers import Layer
from nid_cli.nets.plan import Plan
from nid_cli.nets.proof import floating
from nid_cli.nets.taps import tap, tapped_plan


@contextmanager
def in_double() -> Iterator[None]:
    """New numbers are float64; attention is made of products, which can be differentiated in every way."""
    with floating(torch.float64), sdpa_kernel(SDPBackend.MATH):
        yield


@dataclass(frozen=True)
class Features:
    """What the gradients of some samples (b) and outputs (c) are made of.

    ``read``: by call the value that a layer reads (b x ...); ``signal``: by call the gradients of its value
    (b x c x ...); ``full``: by parameter its gradients (b x c x \\*shape), zero where nothing is trained.
    """

    read: Mapping[str, Tensor]
    signal: Mapping[str, Tensor]
    full: Mapping[str, Tensor]


@dataclass(frozen=True)
class Forward:
    """Samples that ran forwards: their ``outputs`` (b x K), what layers ``read``, and what can be differentiated."""

    outputs: Tensor
    read: Mapping[str, Tensor]
    taps: Mapping[str, Tensor]
    others: Mapping[str, Tensor]
    masks: Mapping[str, Tensor]

    def features(self, chosen: slice) -> Features:
        """The features of some outputs, by one pass backwards for each, which serves all samples."""
        leaves = {**self.taps, **self.others}
        found: dict[str, list[Tensor]] = {name: [] for name in leaves}
        for output in range(self.outputs.shape[1])[chosen]:
            along = torch.zeros_like(self.outputs)
            along[:, output] = 1
            gradients = torch.autograd.grad(
                self.outputs,
                list(leaves.values()),
                along,
                retain_graph=True,
                allow_unused=True,
                materialize_grads=True,
            )
            for name, own in zip(leaves, gradients, strict=True):
                found[name].append(own * self.masks[name] if name in self.masks else own)
        stacked = {name: torch.stack(found.pop(name), 1) for name in leaves}
        return Features(
            self.read, {name: stacked[name] for name in self.taps}, {name: stacked[name] for name in self.others}
        )


class TangentNetwork:
    """A model with the gradients of its outputs.

    The outputs of a sample are those of the network; where it answers at many positions, the mean of each over the
    positions that count.
    """

    def __init__(self, graph: Graph, state: Mapping[str, Tensor], trainable: Mapping[str, Tensor]) -> None:
        """``trainable``: masks of what is trained, for the parameters of which only a part is."""
        self.graph, self.trainable = graph, trainable
        self.state = {n: t.double() if t.is_floating_point() else t for n, t in state.items()}
        self.plan: Plan = plan_of(graph.description, torch.float64)

    @cached_property
    def layers(self) -> tuple[Layer, ...]:
        """The layers whose gradients are outer products: those with a trained weight that no other call reads."""
        found = []
        for layer in self.graph.weighted:
            readers = [call.name for call in self.graph.calls if layer.weight in call.stored]
            if layer.weight in self.graph.trained and readers == [use.call.name for use in layer.uses]:
                found.append(layer)
        return tuple(found)

    @cached_property
    def calls(self) -> tuple[Call, ...]:
        """The calls of these layers."""
        return tuple(use.call for layer in self.layers for use in layer.uses)

    @cached_property
    def others(self) -> tuple[str, ...]:
        """All other trained parameters."""
        weights = {layer.weight for layer in self.layers}
        return tuple(name for name in self.graph.trained if name not in weights)

    def numbers_of(self) -> tuple[int, int]:
        """About how many numbers a sample takes: in a :class:`Forward`, and for each output in its features."""
        sizes = self.graph.sizes
        own = sum(sizes[call.name] for call in self.calls) + sum(self.state[name].numel() for name in self.others)
        return 2 * sum(sizes.values()), 3 * own

    def forward(self, samples: Samples, rows: slice) -> Forward:
        """The outputs of some samples, ready for their gradients.

        Every sample runs alone, by vmap, with taps and (unless they are weights of layers) parameters of its own: their
        gradients are those of the sample.
        """
        plan = tapped_plan(self.plan, tuple(call.name for call in self.calls))
        sources = {use.call.name: use.source for layer in self.layers for use in layer.uses}
        wanted = tuple(dict.fromkeys((self.graph.output, *sources.values())))
        x, shares = samples.inputs[rows], _shares(samples)[rows]

        def computed(x: Tensor, share: Tensor, taps: Any, others: Any) -> tuple[Tensor, dict[str, Tensor]]:
            given = {INPUT: x.unsqueeze(0)} | {tap(name): value for name, value in taps.items()}
            values = run(plan, self.state | others, given, wanted)
            answers = values[self.graph.output][0]
            return share @ answers if self.graph.by_position else answers, values

        zeros = (x.new_zeros(len(x), *_sizes(call), dtype=torch.float64) for call in self.calls)
        taps = {call.name: zero.requires_grad_() for call, zero in zip(self.calls, zeros, strict=True)}
        each = (self.state[name].detach().expand(len(x), *self.state[name].shape) for name in self.others)
        others = {name: own.requires_grad_() for name, own in zip(self.others, each, strict=True)}
        with in_double(), torch.enable_grad():
            outputs, values = vmap(computed)(x, shares, taps, others)
        read = {call: values[source].detach() for call, source in sources.items()}
        return Forward(outputs, read, taps, others, {n: m for n, m in self.trainable.items() if n in others})

    def answers(self, samples: Samples, parameters: Mapping[str, Tensor], rows: slice) -> Tensor:
        """The outputs of some samples, with ``parameters`` in the place of its own: rows x outputs, a row for each
        position that counts where there are many."""
        values = run(self.plan, {**self.state, **parameters}, {INPUT: samples.inputs[rows]}, (self.graph.output,))
        found = values[self.graph.output]
        return found if samples.counted is None else found[samples.counted[rows]]


def _sizes(call: Call) -> tuple[int, ...]:
    """The shape of a call's value for one sample."""
    assert call.shape is not None
    return tuple(size.times if isinstance(size, Batch) else size for size in call.shape)  # type: ignore[misc]


def _shares(samples: Samples) -> Tensor:
    """N x T: what each position counts for in the mean over those that count; N x 1 where there are none."""
    if samples.counted is None:
        return samples.inputs.new_ones(len(samples), 1, dtype=torch.float64)
    counted = samples.counted.double()
    return counted / counted.sum(1, keepdim=True).clamp_min(1)
