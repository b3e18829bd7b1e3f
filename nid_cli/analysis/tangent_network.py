"""A network as tangent kernels see it (docs/science.md, 12): in float64, and the gradients of each sample's outputs.

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
from torch.func import vjp, vmap
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
        """About how many numbers features take while they are made: of each sample, and of each sample and output."""
        sizes = self.graph.sizes
        own = sum(sizes[call.name] for call in self.calls) + sum(self.state[name].numel() for name in self.others)
        return 2 * sum(sizes.values()), own + 4 * max(sizes.values())

    def features(self, samples: Samples, rows: slice, outputs: slice) -> Features:
        """The features of some samples for some outputs, in one pass forwards and one backwards."""
        calls, device = self.calls, samples.inputs.device
        plan = tapped_plan(self.plan, tuple(call.name for call in calls))
        sources = {use.call.name: use.source for layer in self.layers for use in layer.uses}
        wanted = tuple(dict.fromkeys((self.graph.output, *sources.values())))
        taps = {call.name: torch.zeros(_sizes(call), dtype=torch.float64, device=device) for call in calls}
        rest = {name: self.state[name] for name in self.others}
        directions = torch.eye(self.graph.outputs, dtype=torch.float64, device=device)[outputs]
        shares = _shares(samples)

        def one(x: Tensor, share: Tensor) -> tuple[Any, Any, Any]:
            def computed(rest: Any, taps: Any) -> tuple[Tensor, dict[str, Tensor]]:
                given = {INPUT: x.unsqueeze(0)} | {tap(name): value for name, value in taps.items()}
                values = run(plan, self.state | rest, given, wanted)
                answers = values[self.graph.output][0]
                return share @ answers if self.graph.by_position else answers, values

            _, pull, values = vjp(computed, rest, taps, has_aux=True)
            full, signal = vmap(pull)(directions)
            return {name: values[name] for name in sources.values()}, signal, full

        with in_double():
            read, signal, full = vmap(one)(samples.inputs[rows], shares[rows])
        for name, mask in self.trainable.items():
            if name in full:
                full[name] = full[name] * mask
        return Features({call: read[source] for call, source in sources.items()}, signal, full)

    def answers(self, samples: Samples, parameters: Mapping[str, Tensor], rows: slice) -> Tensor:
        """The outputs of some samples, with ``parameters`` in the place of its own: rows x outputs, a row for each
        position that counts where there are many."""
        values = run(self.plan, self.state | parameters, {INPUT: samples.inputs[rows]}, (self.graph.output,))
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
