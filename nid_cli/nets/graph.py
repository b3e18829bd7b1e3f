"""A network as data: a list of operations, from which shapes, permutation axes and recording points are derived.

No torch here: specifications are resolved and checked, and groups listed, without importing it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

INPUT = "input"

# The points of a hidden layer where its neurons can be compared (section 4).
POINTS = ("post_linear", "post_norm", "post_activation")

_POINT_OF = {"linear": "post_linear", "norm": "post_norm", "activation": "post_activation", "gate": "post_activation"}

Axes = tuple[str | None, ...]


@dataclass(frozen=True, kw_only=True)
class Op:
    """One operation: its kind, the operations it reads, and the channels (neurons) of its output.

    ``fan_in`` is set for the weighted kinds: the inputs of one neuron, d. ``function`` names the activation or the
    norm; ``kernel`` and ``stride`` are a convolution's. The name is also the prefix of the operation's parameters.
    """

    name: str
    kind: str
    inputs: tuple[str, ...]
    channels: int
    fan_in: int = 0
    function: str = ""
    kernel: int = 1
    stride: int = 1


def layer_label(name: str) -> int | str:
    """How records name the layer that operation ``name`` opens: an mlp's by its index, others by the name itself."""
    kind, _, index = name.partition(".")
    return int(index) if kind == "linear" and index.isdigit() else name


@dataclass(frozen=True)
class Space:
    """Neurons that one permutation moves together: the hidden layer (or residual stream) opened by operation ``name``.

    ``points`` maps each recording point that exists here to the operations recorded (several: their samples pool).
    """

    name: str
    size: int
    points: dict[str, tuple[str, ...]]


class Graph:
    """An architecture: its operations in the order they run; the last one is the output."""

    def __init__(self, ops: Iterable[Op], input_shape: tuple[int, ...]) -> None:
        self.ops = tuple(ops)
        self.input_shape = input_shape

    @cached_property
    def by_name(self) -> dict[str, Op]:
        """Operations by name."""
        return {op.name: op for op in self.ops}

    @cached_property
    def weighted(self) -> tuple[Op, ...]:
        """The operations with a weight matrix (n x d), the units that kappa and num_fixed speak of."""
        return tuple(op for op in self.ops if op.fan_in)

    @cached_property
    def gated(self) -> bool:
        """Whether fixed gates (sigma) tie the neurons to their places: no permutation keeps the function."""
        return any(op.kind == "gate" for op in self.ops)

    @cached_property
    def last_use(self) -> dict[str, int]:
        """For each operation (and the input) the position of the last operation that reads it."""
        return {source: position for position, op in enumerate(self.ops) for source in op.inputs}

    @property
    def output(self) -> Op:
        """The operation whose values are the network's."""
        return self.ops[-1]

    @property
    def outputs(self) -> int:
        """The number of network outputs."""
        return self.output.channels

    @cached_property
    def parameters(self) -> dict[str, tuple[int, ...]]:
        """Shapes of the trained tensors."""
        shapes: dict[str, tuple[int, ...]] = {}
        for op in self.ops:
            if op.kind == "linear":
                shapes[f"{op.name}.weight"] = (op.channels, op.fan_in)
            if op.kind in ("linear", "norm"):
                shapes.setdefault(f"{op.name}.weight", (op.channels,))
                shapes[f"{op.name}.bias"] = (op.channels,)
        return shapes

    @cached_property
    def buffers(self) -> dict[str, tuple[int, ...]]:
        """Shapes of the running statistics of batch norms."""
        batch_norms = [op for op in self.ops if op.kind == "norm" and op.function == "batch"]
        return {f"{op.name}.running_{s}": (op.channels,) for op in batch_norms for s in ("mean", "var")}

    @cached_property
    def gates(self) -> dict[str, tuple[int, int]]:
        """Shapes of the fixed gates C of a sigma network."""
        return {f"{op.name}.gate": (op.channels, op.channels) for op in self.ops if op.kind == "gate"}

    @cached_property
    def _space_of(self) -> dict[str, str | None]:
        """For each operation the space of its output channels; None for the input's and the output's."""
        space: dict[str, str | None] = {INPUT: None}
        for op in self.ops:
            space[op.name] = op.name if op.fan_in else space[op.inputs[0]]
        fixed = space[self.output.name]
        return {name: None if root == fixed else root for name, root in space.items()}

    @cached_property
    def axes(self) -> dict[str, Axes]:
        """For each parameter and buffer the space of each of its axes (None: not permuted)."""
        axes: dict[str, Axes] = {}
        for name, shape in (self.parameters | self.buffers).items():
            op = self.by_name[name.rpartition(".")[0]]
            rest = (self._space_of[op.inputs[0]], *(None for _ in shape[2:])) if len(shape) > 1 else ()
            axes[name] = (self._space_of[op.name], *rest)
        return axes

    @cached_property
    def spaces(self) -> tuple[Space, ...]:
        """The hidden layers in order, with their recording points."""
        members: dict[str, list[Op]] = {}
        for op in self.ops:
            if (root := self._space_of[op.name]) is not None:
                members.setdefault(root, []).append(op)
        spaces = []
        for root, ops in members.items():
            points: dict[str, tuple[str, ...]] = {}
            for op in ops:
                points[_POINT_OF[op.kind]] = (*points.get(_POINT_OF[op.kind], ()), op.name)
            spaces.append(Space(root, ops[0].channels, points))
        return tuple(spaces)

    @property
    def parameter_count(self) -> int:
        """The number of trained scalars, fixed entries included."""
        return sum(math.prod(shape) for shape in self.parameters.values())
