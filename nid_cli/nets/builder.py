"""Writes a network call by call: what the files of our own architectures are made of. No torch."""

from __future__ import annotations

import math
from collections.abc import Mapping

from nid_cli.nets.calls import INPUT, Argument, Batch, Call, Shape, Stored, Value
from nid_cli.nets.description import Buffer, Description, Input
from nid_cli.nets.graph import Gate, Graph

ACTIVATIONS = {"gelu": "gelu.default", "relu": "relu.default", "identity": "alias.default"}
# torch's own: of its layers, and of running statistics.
EPSILON, MOMENTUM = 1e-5, 0.1
# The axes of images' values.
PIXELS = 4


class Builder:
    """The calls and stored tensors of a network so far; every method adds calls and names the last one.

    Channels are the second axis of pixels (N x channels x height x width), the last one of all else: of samples (N x
    channels), of tokens and nodes (N x positions x channels).
    """

    def __init__(self, input_shape: tuple[int, ...], vocabulary: int | None = None) -> None:
        """``vocabulary``: what the inputs lie below, where they are whole numbers."""
        dtype = "float32" if vocabulary is None else "int64"
        self.input = Input(INPUT, (Batch(), *input_shape), dtype, vocabulary)
        self.calls: list[Call] = []
        self.shapes: dict[str, Shape] = {INPUT: self.input.shape}
        self.parameters: dict[str, tuple[int, ...]] = {}
        self.buffers: dict[str, tuple[int, ...]] = {}
        self.constants: dict[str, Buffer] = {}
        self.gates: list[Gate] = []

    @property
    def input_shape(self) -> tuple[int, ...]:
        """The shape of one sample."""
        return tuple(size for size in self.input.shape[1:] if isinstance(size, int))

    def call(self, name: str, function: str, *args: Argument, shape: Shape, site: str | None = None) -> str:
        """Any call; names of values and tensors among its arguments are ``Value`` and ``Stored``."""
        self.calls.append(Call(name=name, function=function, args=args, shape=shape, site=site))
        self.shapes[name] = shape
        return name

    def channels(self, source: str) -> int:
        """The channels of a value."""
        shape = self.shapes[source]
        size = shape[1 if len(shape) == PIXELS else -1]
        assert isinstance(size, int)
        return size

    def constant(self, name: str, *shape: int, dtype: str = "float32") -> Stored:
        """A tensor of the data, which training leaves as it is and checkpoints do not hold."""
        self.constants[name] = Buffer(shape, dtype)
        return Stored(name)

    def _stored(self, kind: dict[str, tuple[int, ...]], name: str, *shape: int) -> Stored:
        kind[name] = shape
        return Stored(name)

    def flatten(self, name: str, source: str) -> str:
        """All but the samples as one axis."""
        size = math.prod(size for size in self.shapes[source][1:] if isinstance(size, int))
        return self.call(name, "flatten.using_ints", Value(source), 1, -1, shape=(Batch(), size))

    def linear(self, name: str, source: str, outputs: int, *, bias: bool = True, weight: Stored | None = None) -> str:
        """x W^T + b; ``weight`` is one that another call has already, else its own."""
        weight = weight or self._stored(self.parameters, f"{name}.weight", outputs, self.channels(source))
        added = self._stored(self.parameters, f"{name}.bias", outputs) if bias else None
        shape = (*self.shapes[source][:-1], outputs)
        return self.call(name, "linear.default", Value(source), weight, added, shape=shape)

    def conv(self, name: str, source: str, channels: int, kernel: int, stride: int = 1) -> str:
        """A padded convolution without bias."""
        weight = self._stored(self.parameters, f"{name}.weight", channels, self.channels(source), kernel, kernel)
        pixels = (-(-size // stride) for size in self.shapes[source][2:] if isinstance(size, int))
        padding = kernel // 2
        where = (stride, stride), (padding, padding)
        return self.call(
            name, "conv2d.default", Value(source), weight, None, *where, shape=(Batch(), channels, *pixels)
        )

    def patches(self, name: str, source: str, channels: int, size: int) -> str:
        """A convolution of patches that lie side by side, with bias; the patches as tokens, row by row."""
        weight = self._stored(self.parameters, f"{name}.weight", channels, self.channels(source), size, size)
        bias = self._stored(self.parameters, f"{name}.bias", channels)
        pixels = [side // size for side in self.shapes[source][2:] if isinstance(side, int)]
        self.call(name, "conv2d.default", Value(source), weight, bias, (size, size), shape=(Batch(), channels, *pixels))
        tokens = math.prod(pixels)
        self.call(f"{name}.row", "flatten.using_ints", Value(name), 2, -1, shape=(Batch(), channels, tokens))
        return self.transpose(f"{name}.tokens", f"{name}.row")

    def embedding(self, name: str, source: str, channels: int) -> str:
        """A row of a table for each token."""
        assert self.input.vocabulary is not None
        table = self._stored(self.parameters, f"{name}.weight", self.input.vocabulary, channels)
        return self.call(name, "embedding.default", table, Value(source), shape=(*self.shapes[source], channels))

    def positions(self, name: str, source: str) -> str:
        """Tokens, each with the row of a table for its position added."""
        shape = self.shapes[source]
        table = self._stored(self.parameters, f"{name}.weight", *(size for size in shape[1:] if isinstance(size, int)))
        return self.call(name, "add.Tensor", Value(source), table, shape=shape)

    def transpose(self, name: str, source: str) -> str:
        """The second and third axes exchanged."""
        samples, second, third, *rest = self.shapes[source]
        return self.call(name, "transpose.int", Value(source), 1, 2, shape=(samples, third, second, *rest))

    def norm(self, name: str, source: str, kind: str) -> str:
        """``layer``, ``group`` (one group) or ``batch`` normalization, with weight and bias.

        Batch norms have statistics for each channel, over samples and pixels or positions.
        """
        channels, positions = self.channels(source), kind == "batch" and len(self.shapes[source]) == PIXELS - 1
        if positions:
            source = self.transpose(f"{name}.channels", source)
        shape, x = self.shapes[source], Value(source)
        affine = [self._stored(self.parameters, f"{name}.{part}", channels) for part in ("weight", "bias")]
        if kind == "layer":
            return self.call(name, "layer_norm.default", x, (channels,), *affine, EPSILON, shape=shape)
        if kind == "group":
            return self.call(name, "group_norm.default", x, 1, *affine, EPSILON, shape=shape)
        running = [self._stored(self.buffers, f"{name}.running_{part}", channels) for part in ("mean", "var")]
        self.call(name, "batch_norm.default", x, *affine, *running, False, MOMENTUM, EPSILON, False, shape=shape)
        return self.transpose(f"{name}.positions", name) if positions else name

    def activation(self, name: str, source: str, function: str) -> str:
        """An element-wise activation, by its name in ``ACTIVATIONS``."""
        site = "post_activation"
        return self.call(name, ACTIVATIONS[function], Value(source), shape=self.shapes[source], site=site)

    def gate(self, name: str, source: str, sd: float) -> str:
        """x * sigmoid(C x), C fixed, over the channels: a matrix product, or a 1 x 1 convolution of pixels."""
        channels, shape, fixed = self.channels(source), self.shapes[source], Stored(f"{name}.gate")
        self.gates.append(Gate(name=name, channels=channels, sd=sd))
        if len(shape) != PIXELS:
            mixed = self.call(f"{name}.mixed", "linear.default", Value(source), fixed, shape=shape, site="")
        else:
            square = (channels, channels)
            column = self.call(f"{name}.column", "unsqueeze.default", fixed, -1, shape=(*square, 1))
            kernel = Value(self.call(f"{name}.kernel", "unsqueeze.default", Value(column), -1, shape=(*square, 1, 1)))
            mixed = self.call(f"{name}.mixed", "conv2d.default", Value(source), kernel, shape=shape, site="")
        opening = self.call(f"{name}.opening", "sigmoid.default", Value(mixed), shape=shape)
        return self.call(name, "mul.Tensor", Value(source), Value(opening), shape=shape, site="post_activation")

    def activate(self, name: str, source: str, function: str, gated: bool) -> str:
        """An activation; where ``gated`` a gate in its place, whose entries keep the spread of what it mixes."""
        if gated:
            return self.gate(name, source, self.channels(source) ** -0.5)
        return self.activation(name, source, function)

    def add(self, name: str, first: str, second: str) -> str:
        """The sum of two values."""
        return self.call(name, "add.Tensor", Value(first), Value(second), shape=self.shapes[first])

    def pool(self, name: str, source: str) -> str:
        """The mean over all pixels, or over all positions."""
        shape = self.shapes[source]
        over = (2, 3) if len(shape) == PIXELS else (1,)
        return self.call(name, "mean.dim", Value(source), over, shape=(Batch(), self.channels(source)))

    def graph(
        self,
        labels: Mapping[str, int | str] | None = None,
        space_labels: Mapping[str, int | str] | None = None,
    ) -> Graph:
        """The network whose output is the last call's value; the labels are those of ``Graph``."""
        fixed = {f"{gate.name}.gate": (gate.channels, gate.channels) for gate in self.gates}
        description = Description(
            inputs=(self.input,),
            calls=tuple(self.calls),
            parameters=dict(self.parameters),
            buffers={name: Buffer(shape) for name, shape in (self.buffers | fixed).items()} | self.constants,
            output=self.calls[-1].name,
        )
        return Graph(description, self.gates, labels, space_labels, constants=self.constants)
