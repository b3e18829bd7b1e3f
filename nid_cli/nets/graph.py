"""A network as data: a list of operations, from which shapes, permutation axes and recording sites are derived.

No torch here: specifications are resolved and checked, and groups listed, without importing it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from nid_cli.nets.operations import SITES, Op, Shape

__all__ = ["BATCH_ENTRIES", "INPUT", "SITES", "Axes", "Graph", "Op", "PermutationSpace"]

INPUT = "input"
# Numbers in the largest tensor of a batch that an analysis reads (float32: 16 MiB).
BATCH_ENTRIES = 2**22

Axes = tuple[str | None, ...]


@dataclass(frozen=True)
class PermutationSpace:
    """Neurons that one permutation moves together: the hidden layer (or residual stream) opened by operation ``name``.

    ``label`` is its name in records: an mlp's layer by its index, a residual block's inner layer by the block, a
    residual stream by its number (``stream.1``). ``sites`` maps each recording site that exists here to the
    operations recorded (several: their samples pool).
    """

    name: str
    label: int | str
    size: int
    sites: dict[str, tuple[str, ...]]


class Graph:
    """An architecture: its operations in the order they run; the last one is the output."""

    def __init__(self, ops: Iterable[Op], input_shape: Shape) -> None:
        self.ops = tuple(ops)
        self.input_shape = input_shape

    @cached_property
    def by_name(self) -> dict[str, Op]:
        """Operations by name."""
        return {op.name: op for op in self.ops}

    @cached_property
    def weighted(self) -> tuple[Op, ...]:
        """The operations with a weight matrix (n x d), the units that kappa and num_fixed speak of."""
        return tuple(op for op in self.ops if op.operation.weighted)

    @cached_property
    def gated(self) -> bool:
        """Whether fixed gates (sigma) tie the neurons to their places: no permutation keeps the function."""
        return bool(self.gates)

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
    def parameters(self) -> dict[str, Shape]:
        """Shapes of the trained tensors."""
        return {name: shape for op in self.ops for name, shape in op.parameters.items()}

    @cached_property
    def buffers(self) -> dict[str, Shape]:
        """Shapes of the running statistics of batch norms."""
        return {name: shape for op in self.ops for name, shape in op.buffers.items()}

    @cached_property
    def gates(self) -> dict[str, Shape]:
        """Shapes of the fixed gates C of a sigma network."""
        return {name: shape for op in self.ops for name, shape in op.gates.items()}

    @cached_property
    def sizes(self) -> dict[str, int]:
        """How many numbers one sample is at the input and after each operation: channels times pixels."""
        shapes = {INPUT: self.input_shape}
        for op in self.ops:
            shapes[op.name] = (op.channels, *op.operation.pixels(op, shapes[op.inputs[0]][1:]))
        return {name: math.prod(shape) for name, shape in shapes.items()}

    def batch(self, most: int, *kept: int) -> int:
        """How many samples make a batch, at most ``most``: memory grows neither with the data set nor with the images.

        No operation's value fills more than ``BATCH_ENTRIES`` numbers, nor anything ``kept`` (numbers a sample, such as
        all recorded values together) more than four times as many.
        """
        widest = max(*self.sizes.values(), *(-(-size // 4) for size in kept))
        return max(1, min(most, BATCH_ENTRIES // widest))

    def patches_size(self, op: Op) -> int:
        """How many numbers the inputs of all neurons of a weighted ``op`` are for one sample: every pixel's patch."""
        return op.fan_in * (self.sizes[op.name] // op.channels)

    @cached_property
    def space_of(self) -> dict[str, str | None]:
        """For each operation the space of its output channels; None for the input's and the output's.

        A weighted operation opens a space; a sum joins the spaces of its terms, and the first opened names them all.
        """
        root: dict[str, str] = {INPUT: INPUT}
        for op in self.ops:
            root[op.name] = op.name if op.operation.weighted else root[op.inputs[0]]
            joined = {root[source] for source in op.inputs} if op.operation.joined else set()
            if len(joined) > 1:
                first = next(name for name in root if name in joined)
                root = {name: first if own in joined else own for name, own in root.items()}
        fixed = (INPUT, root[self.output.name])
        return {name: None if own in fixed else own for name, own in root.items()}

    @cached_property
    def axes(self) -> dict[str, Axes]:
        """For each parameter and buffer the space of each of its axes (None: not permuted)."""
        axes: dict[str, Axes] = {}
        for name, shape in (self.parameters | self.buffers).items():
            op = self.by_name[name.rpartition(".")[0]]
            rest = (self.space_of[op.inputs[0]], *(None for _ in shape[2:])) if len(shape) > 1 else ()
            axes[name] = (self.space_of[op.name], *rest)
        return axes

    @cached_property
    def spaces(self) -> tuple[PermutationSpace, ...]:
        """The hidden layers in order, with their recording sites."""
        members: dict[str, list[Op]] = {}
        for op in self.ops:
            if (root := self.space_of[op.name]) is not None:
                members.setdefault(root, []).append(op)
        return tuple(_space(ops, stream) for ops, stream in zip(members.values(), _streams(members), strict=True))

    @property
    def parameter_count(self) -> int:
        """The number of trained scalars, fixed entries included."""
        return sum(math.prod(shape) for shape in self.parameters.values())


def _streams(members: Mapping[str, Sequence[Op]]) -> Iterator[int]:
    """For each space its number among the residual streams, 0 where it is none: streams have several weighted ops."""
    count = 0
    for ops in members.values():
        is_stream = sum(1 for op in ops if op.operation.weighted) > 1
        count += is_stream
        yield count if is_stream else 0


def _space(ops: Sequence[Op], stream: int) -> PermutationSpace:
    sites: dict[str, tuple[str, ...]] = {}
    for op in ops:
        site = op.operation.site
        # In a stream only the activations are of all its neurons together; each conv writes a summand.
        if site and (not stream or site == "post_activation"):
            sites[site] = (*sites.get(site, ()), op.name)
    opener = ops[0]
    block, _, last = opener.name.rpartition(".")
    inner = opener.label if opener.operation.counted else block or last
    return PermutationSpace(opener.name, f"stream.{stream}" if stream else inner, opener.channels, sites)
