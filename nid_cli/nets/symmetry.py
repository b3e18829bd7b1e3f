"""The symmetry types (docs/science.md, 1): what is fixed, how a network starts, and what training must preserve.

W and sigma: Lim et al. 2024; syre: Ziyin et al. 2025.

A symmetry type is one entry of ``specs.SYMMETRIES`` (its name and the settings it takes) and one :class:`Rule` here.
Networks hold *effective* weights throughout: the fixed tensors enter only at the start and in the optimizer step
(``training.optimizer``), never in a forward pass, gates aside.

Fixed tensors of a group, by name: ``{op}.mask`` (bool, True = trained) and ``{op}.fixed`` (F, zero where trained) for
w; ``{op}.noise`` (N) for syre; ``{op}.gate`` (C) for sigma. What the data fix for all models, such as a graph's
adjacency, is kept beside them, under the names that the network has for it (``Graph.constants``).
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Generator, Tensor

from nid_cli.errors import IntegrityError
from nid_cli.lazy import resolve
from nid_cli.nets.functional import State
from nid_cli.nets.graph import Gate, Graph
from nid_cli.nets.layers import Layer
from nid_cli.specs import SYMMETRIES

# Standard deviation of tables when training starts, as in GPT-2 (Radford et al. 2019).
TABLE_SD = 0.02


@dataclass(frozen=True)
class Constraint:
    """What the optimizer step must preserve of the symmetry type.

    ``pinned`` maps a parameter to (flat positions, values) that are written back after each step; ``anchor`` maps a
    parameter to the point that weight decay pulls it to, instead of zero.
    """

    pinned: dict[str, tuple[Tensor, Tensor]] = field(default_factory=dict)
    anchor: dict[str, Tensor] = field(default_factory=dict)

    def to(self, device: torch.device) -> Constraint:
        """The same constraint on ``device``."""
        return Constraint(
            {name: (index.to(device), values.to(device)) for name, (index, values) in self.pinned.items()},
            {name: anchor.to(device) for name, anchor in self.anchor.items()},
        )

    def stacked(self, sizes: Mapping[str, int], models: int) -> Constraint:
        """The same for each of several models, whose parameters (of ``sizes`` numbers each) have a first axis for them.

        An anchor serves all of them as it is.
        """
        pinned = {}
        for name, (index, values) in self.pinned.items():
            begins = torch.arange(models, device=index.device) * sizes[name]
            pinned[name] = (begins[:, None] + index).flatten(), values.repeat(models)
        return Constraint(pinned, self.anchor)


@dataclass(frozen=True)
class Rule:
    """What a symmetry type does, as functions of one layer (its op, its own fixed tensors, its kappa).

    ``draw(layer or gate, num_fixed, generator)`` makes the fixed tensors, ``effective(theta, fixed, kappa)`` the
    effective weight, ``pin(fixed, kappa)`` the pinned entries, ``anchor(fixed, kappa)`` where decay pulls to.
    ``on_gates``: the gates carry the fixed tensors, instead of the weighted layers. ``normal_init`` draws linear
    weights from N(0, 1/d) instead of torch's U(+-1/sqrt(d)), which convolutions keep. A layer's tensors are n x d, of
    a convolution too.
    """

    draw: Callable[[Any, int, Generator], dict[str, Tensor]]
    effective: Callable[[Tensor, Mapping[str, Tensor], float], Tensor] = lambda theta, fixed, kappa: theta
    pin: Callable[[Mapping[str, Tensor], float], tuple[Tensor, Tensor]] | None = None
    anchor: Callable[[Mapping[str, Tensor], float], Tensor] | None = None
    on_gates: bool = False
    normal_init: bool = False


def _draw_mask(op: Layer, num_fixed: int, generator: Generator) -> dict[str, Tensor]:
    shape = (op.channels, op.fan_in)
    positions = torch.rand(shape, generator=generator).argsort(1)[:, :num_fixed]
    mask = torch.ones(shape, dtype=torch.bool).scatter_(1, positions, False)
    return {"mask": mask, "fixed": torch.randn(shape, generator=generator).masked_fill_(mask, 0.0)}


def _draw_noise(op: Layer, num_fixed: int, generator: Generator) -> dict[str, Tensor]:
    return {"noise": torch.randn(op.channels, op.fan_in, generator=generator)}


def _draw_gate(op: Gate, num_fixed: int, generator: Generator) -> dict[str, Tensor]:
    return {"gate": torch.randn(op.channels, op.channels, generator=generator) * op.sd}


def _pin_masked(fixed: Mapping[str, Tensor], kappa: float) -> tuple[Tensor, Tensor]:
    index = (~fixed["mask"]).flatten().nonzero().squeeze(1)
    return index, kappa * fixed["fixed"].flatten()[index]


STANDARD = Rule(draw=lambda op, num_fixed, generator: {})
W = Rule(
    draw=_draw_mask,
    effective=lambda theta, fixed, kappa: torch.where(fixed["mask"], theta, kappa * fixed["fixed"]),
    pin=_pin_masked,
    normal_init=True,
)
SIGMA = Rule(draw=_draw_gate, on_gates=True)
SYRE = Rule(
    draw=_draw_noise,
    effective=lambda theta, fixed, kappa: theta + kappa * fixed["noise"],
    anchor=lambda fixed, kappa: kappa * fixed["noise"],
    normal_init=True,
)


def rule_of(symmetry: str) -> Rule:
    """The rule of a symmetry type, by its name in ``specs.SYMMETRIES``."""
    rule = resolve(SYMMETRIES[symmetry].rule)
    assert isinstance(rule, Rule)
    return rule


def draw_fixed(rule: Rule, graph: Graph, num_fixed: tuple[int, ...] | None, seed: int) -> State:
    """The fixed tensors of a group (docs/science.md, 1), drawn from one ``seed``; empty for standard networks."""
    generator = torch.Generator().manual_seed(seed)
    ops: Sequence[Layer | Gate] = graph.gates if rule.on_gates else graph.weighted
    counts = num_fixed or (0,) * len(ops)
    return {
        f"{op.name}.{key}": tensor
        for op, count in zip(ops, counts, strict=True)
        if isinstance(op, Gate) or op.weight in graph.trained  # what is frozen stays as it is
        for key, tensor in rule.draw(op, count, generator).items()
    }


def fixed_of(fixed: Mapping[str, Tensor], op: Layer) -> dict[str, Tensor]:
    """The fixed tensors of one operation, by their bare names."""
    prefix = f"{op.name}."
    return {name.removeprefix(prefix): tensor for name, tensor in fixed.items() if name.startswith(prefix)}


def fixed_hash(fixed: Mapping[str, Tensor]) -> str | None:
    """SHA-256 (hex) of names, shapes and contents; None where nothing is fixed."""
    if not fixed:
        return None
    digest = hashlib.sha256()
    for name, tensor in sorted(fixed.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.contiguous().numpy().data)
    return digest.hexdigest()


def _per_layer(kappa: tuple[float, ...] | None, graph: Graph) -> tuple[float, ...]:
    return kappa or (0.0,) * len(graph.weighted)


def initial_state(
    rule: Rule, graph: Graph, fixed: Mapping[str, Tensor], kappa: tuple[float, ...] | None, seed: int
) -> State:
    """Effective weights and buffers of a fresh network, its own draw from ``seed`` (docs/science.md, 1 and 2)."""
    generator = torch.Generator().manual_seed(seed)
    state: State = {}
    layers = {layer.weight: layer for layer in graph.weighted} | {layer.bias: layer for layer in graph.weighted}
    for name, shape in graph.parameters.items():
        if (layer := layers.get(name)) is None:
            state[name] = _free(name, shape, generator)
            continue
        bound = 1 / math.sqrt(layer.fan_in)
        if name == layer.bias or layer.patches or not rule.normal_init:
            state[name] = (2 * torch.rand(shape, generator=generator) - 1) * bound
        else:
            state[name] = torch.randn(shape, generator=generator) * bound
    for name, shape in graph.buffers.items():
        state[name] = torch.ones(shape) if name.endswith("var") else torch.zeros(shape)
    return lay_over(rule, graph, fixed, kappa, state)


def lay_over(
    rule: Rule, graph: Graph, fixed: Mapping[str, Tensor], kappa: tuple[float, ...] | None, drawn: State
) -> State:
    """Effective weights and buffers of a network whose theta was drawn, by its own code for example."""
    state = dict(drawn)
    for layer, k in zip(graph.weighted, _per_layer(kappa, graph), strict=True):
        if layer.weight not in graph.trained:
            continue
        own = rule.effective(layer.matrix(drawn[layer.weight]), fixed_of(fixed, layer), k)
        state[layer.weight] = layer.stored(own, graph.parameters[layer.weight])
    return state


def _free(name: str, shape: tuple[int, ...], generator: Generator) -> Tensor:
    """What is no layer's: the parameters of norms, and tables of embeddings and positions."""
    if len(shape) > 1:
        return torch.randn(shape, generator=generator) * TABLE_SD
    return torch.ones(shape) if name.endswith(".weight") else torch.zeros(shape)


def constraint(rule: Rule, graph: Graph, fixed: Mapping[str, Tensor], kappa: tuple[float, ...] | None) -> Constraint:
    """Pinned entries and decay anchors of every layer, each with its own kappa (docs/science.md, 1)."""
    layers = [
        (layer, fixed_of(fixed, layer), k)
        for layer, k in zip(graph.weighted, _per_layer(kappa, graph), strict=True)
        if layer.weight in graph.trained
    ]
    pin, anchor = rule.pin, rule.anchor
    return Constraint(
        {layer.weight: _stored_entries(layer, *pin(own, k)) for layer, own, k in layers} if pin else {},
        {layer.weight: layer.stored(anchor(own, k), graph.parameters[layer.weight]) for layer, own, k in layers}
        if anchor
        else {},
    )


def _stored_entries(layer: Layer, index: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
    """Flat positions in the matrix (n x d) as flat positions in the stored weight."""
    if not layer.by_columns:
        return index, values
    return index % layer.fan_in * layer.channels + index // layer.fan_in, values


def constants_of(graph: Graph, fixed: Mapping[str, Tensor]) -> State:
    """The fixed tensors of a group that a forward pass needs: gates of sigma networks, constants of the data.

    Raises:
        IntegrityError: the group lacks one of them.
    """
    if missing := sorted(graph.constants - fixed.keys()):
        raise IntegrityError(f"the fixed tensors of the group lack {missing[0]}")
    return {name: fixed[name] for name in sorted(graph.constants)}
