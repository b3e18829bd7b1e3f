"""What each kind of operation means: its tensors, the shape of its values, where its neurons are, how it is run.

One row of ``OPERATIONS`` says all of it; graphs, functions, initialization and analyses ask the row and never the name.
No torch: what computes is a reference.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

Shape = tuple[int, ...]

# The recording sites of a hidden layer, where its neurons can be compared (docs/science.md, 4).
SITES = ("post_linear", "post_norm", "post_activation")


@dataclass(frozen=True, kw_only=True)
class Op:
    """One operation: its kind, the operations it reads, and the channels (neurons) of its output.

    ``fan_in`` is set for the weighted kinds: the inputs of one neuron, d. ``function`` names the activation or the
    norm; ``kernel`` and ``stride`` are a convolution's; ``gate_sd`` is the standard deviation of a gate's entries. The
    name is also the prefix of the operation's tensors.
    """

    name: str
    kind: str
    inputs: tuple[str, ...]
    channels: int
    fan_in: int = 0
    function: str = ""
    kernel: int = 1
    stride: int = 1
    gate_sd: float = 1.0

    @property
    def operation(self) -> Operation:
        """What its kind means."""
        return OPERATIONS[self.kind]

    @property
    def has_patches(self) -> bool:
        """Whether its neurons see many patches of one sample, as those of a convolution do."""
        return self.operation.patches

    @property
    def parameters(self) -> dict[str, Shape]:
        """Shapes of its trained tensors."""
        return {f"{self.name}.{key}": shape for key, shape in self.operation.parameters(self).items()}

    @property
    def buffers(self) -> dict[str, Shape]:
        """Shapes of its running statistics."""
        return {f"{self.name}.{key}": shape for key, shape in self.operation.buffers(self).items()}

    @property
    def gates(self) -> dict[str, Shape]:
        """Shapes of its fixed gates."""
        return {f"{self.name}.{key}": shape for key, shape in self.operation.gates(self).items()}

    @property
    def label(self) -> int | str:
        """How records name the layer that it is: by its index, where its kind counts its layers, else by its name."""
        _, _, index = self.name.partition(".")
        return int(index) if self.operation.counted and index.isdigit() else self.name


def _nothing(op: Op) -> dict[str, Shape]:
    return {}


@dataclass(frozen=True, kw_only=True)
class Operation:
    """The meaning of a kind of operation.

    ``run``: ``module:function`` of (op, state, training, \\*inputs), the value. ``weighted``: its weight is n x d, one
    row for each neuron, so that it opens a hidden layer; ``rows`` (``module:function`` of op and its input) are the
    inputs that its neurons see, one for each sample, or many where it has ``patches``. ``parameters``, ``buffers`` and
    ``gates``: shapes by name; axis 0 belongs to its own neurons, axis 1 to those of its input. ``joined``: its inputs
    have the same neurons, as the terms of a sum. ``site``: where a hidden layer's neurons are recorded after it.
    ``pixels``: the positions of its value for those of its input. ``normal``: its weight is drawn from N(0, 1/d)
    where a symmetry type wants that. ``counted``: its layers are called by their index.
    """

    run: str
    weighted: bool = False
    rows: str = "nid_cli.nets.kernels:rows"
    patches: bool = False
    parameters: Callable[[Op], dict[str, Shape]] = _nothing
    buffers: Callable[[Op], dict[str, Shape]] = _nothing
    gates: Callable[[Op], dict[str, Shape]] = _nothing
    joined: bool = False
    site: str | None = None
    pixels: Callable[[Op, Shape], Shape] = lambda op, pixels: pixels
    normal: bool = False
    counted: bool = False


def _linear_shapes(op: Op) -> dict[str, Shape]:
    return {"weight": (op.channels, op.fan_in), "bias": (op.channels,)}


def _conv_shapes(op: Op) -> dict[str, Shape]:
    kernel = (op.kernel, op.kernel)
    return {"weight": (op.channels, op.fan_in // math.prod(kernel), *kernel)}


def _norm_shapes(op: Op) -> dict[str, Shape]:
    return {"weight": (op.channels,), "bias": (op.channels,)}


def _statistics(op: Op) -> dict[str, Shape]:
    return {f"running_{s}": (op.channels,) for s in ("mean", "var")} if op.function == "batch" else {}


OPERATIONS: dict[str, Operation] = {
    "linear": Operation(
        run="nid_cli.nets.kernels:linear",
        weighted=True,
        parameters=_linear_shapes,
        site="post_linear",
        pixels=lambda op, pixels: (),
        normal=True,
        counted=True,
    ),
    "conv": Operation(
        run="nid_cli.nets.kernels:conv",
        weighted=True,
        rows="nid_cli.nets.kernels:patches",
        patches=True,
        parameters=_conv_shapes,
        site="post_linear",
        pixels=lambda op, pixels: tuple(-(-side // op.stride) for side in pixels),
    ),
    "norm": Operation(run="nid_cli.nets.kernels:norm", parameters=_norm_shapes, buffers=_statistics, site="post_norm"),
    "activation": Operation(run="nid_cli.nets.kernels:activation", site="post_activation"),
    "gate": Operation(
        run="nid_cli.nets.kernels:gate",
        gates=lambda op: {"gate": (op.channels, op.channels)},
        site="post_activation",
    ),
    "add": Operation(run="nid_cli.nets.kernels:add", joined=True),
    "pool": Operation(run="nid_cli.nets.kernels:pool", pixels=lambda op, pixels: ()),
}
