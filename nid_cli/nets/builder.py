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


class Builder:
    """The calls, parameters, buffers and gates of a network so far; every method adds calls and names the last one."""

    def __init__(self, input_shape: tuple[int, ...]) -> None:
        self.input_shape = input_shape
        self.calls: list[Call] = []
        self.shapes: dict[str, Shape] = {INPUT: (Batch(), *input_shape)}
        self.parameters: dict[str, tuple[int, ...]] = {}
        self.buffers: dict[str, tuple[int, ...]] = {}
        self.gates: list[Gate] = []

    def call(self, name: str, function: str, *args: Argument, shape: Shape, site: str | None = None) -> str:
        """Any call; names of values and tensors among its arguments are ``Value`` and ``Stored``."""
        self.calls.append(Call(name=name, function=function, args=args, shape=shape, site=site))
        self.shapes[name] = shape
        return name

    def channels(self, source: str) -> int:
        """The channels of a value: its second size."""
        size = self.shapes[source][1]
        assert isinstance(size, int)
        return size

    def _stored(self, kind: dict[str, tuple[int, ...]], name: str, *shape: int) -> Stored:
        kind[name] = shape
        return Stored(name)

    def flatten(self, name: str, source: str) -> str:
        """All but the samples as one axis."""
        size = math.prod(size for size in self.shapes[source][1:] if isinstance(size, int))
        return self.call(name, "flatten.using_ints", Value(source), 1, -1, shape=(Batch(), size))

    def linear(self, name: str, source: str, outputs: int) -> str:
        """x W^T + b."""
        weight = self._stored(self.parameters, f"{name}.weight", outputs, self.channels(source))
        bias = self._stored(self.parameters, f"{name}.bias", outputs)
        return self.call(name, "linear.default", Value(source), weight, bias, shape=(Batch(), outputs))

    def conv(self, name: str, source: str, channels: int, kernel: int, stride: int = 1) -> str:
        """A padded convolution without bias."""
        weight = self._stored(self.parameters, f"{name}.weight", channels, self.channels(source), kernel, kernel)
        pixels = (-(-size // stride) for size in self.shapes[source][2:] if isinstance(size, int))
        padding = kernel // 2
        where = (stride, stride), (padding, padding)
        return self.call(
            name, "conv2d.default", Value(source), weight, None, *where, shape=(Batch(), channels, *pixels)
        )

    def norm(self, name: str, source: str, kind: str) -> str:
        """``layer``, ``group`` (one group) or ``batch`` normalization, with weight and bias."""
        channels, shape, x = self.channels(source), self.shapes[source], Value(source)
        affine = [self._stored(self.parameters, f"{name}.{part}", channels) for part in ("weight", "bias")]
        if kind == "layer":
            return self.call(name, "layer_norm.default", x, (channels,), *affine, EPSILON, shape=shape)
        if kind == "group":
            return self.call(name, "group_norm.default", x, 1, *affine, EPSILON, shape=shape)
        running = [self._stored(self.buffers, f"{name}.running_{part}", channels) for part in ("mean", "var")]
        return self.call(name, "batch_norm.default", x, *affine, *running, False, MOMENTUM, EPSILON, False, shape=shape)

    def activation(self, name: str, source: str, function: str) -> str:
        """An element-wise activation, by its name in ``ACTIVATIONS``."""
        site = "post_activation"
        return self.call(name, ACTIVATIONS[function], Value(source), shape=self.shapes[source], site=site)

    def gate(self, name: str, source: str, sd: float) -> str:
        """x * sigmoid(C x), C fixed; it acts on the channels: a matrix product, or a 1 x 1 convolution of pixels."""
        channels, shape, fixed = self.channels(source), self.shapes[source], Stored(f"{name}.gate")
        self.gates.append(Gate(name=name, channels=channels, sd=sd))
        if len(shape) == 2:
            mixed = self.call(f"{name}.mixed", "linear.default", Value(source), fixed, shape=shape, site="")
        else:
            square = (channels, channels)
            column = self.call(f"{name}.column", "unsqueeze.default", fixed, -1, shape=(*square, 1))
            kernel = Value(self.call(f"{name}.kernel", "unsqueeze.default", Value(column), -1, shape=(*square, 1, 1)))
            mixed = self.call(f"{name}.mixed", "conv2d.default", Value(source), kernel, shape=shape, site="")
        opening = self.call(f"{name}.opening", "sigmoid.default", Value(mixed), shape=shape)
        return self.call(name, "mul.Tensor", Value(source), Value(opening), shape=shape, site="post_activation")

    def add(self, name: str, first: str, second: str) -> str:
        """The sum of two values."""
        return self.call(name, "add.Tensor", Value(first), Value(second), shape=self.shapes[first])

    def pool(self, name: str, source: str) -> str:
        """The mean over all pixels."""
        return self.call(name, "mean.dim", Value(source), (2, 3), shape=self.shapes[source][:2])

    def graph(
        self,
        labels: Mapping[str, int | str] | None = None,
        space_labels: Mapping[str, int | str] | None = None,
    ) -> Graph:
        """The network whose output is the last call's value; the labels are those of ``Graph``."""
        fixed = {f"{gate.name}.gate": (gate.channels, gate.channels) for gate in self.gates}
        description = Description(
            inputs=(Input(name=INPUT, shape=(Batch(), *self.input_shape)),),
            calls=tuple(self.calls),
            parameters=dict(self.parameters),
            buffers={name: Buffer(shape) for name, shape in (self.buffers | fixed).items()},
            output=self.calls[-1].name,
        )
        return Graph(description, gates=self.gates, labels=labels, space_labels=space_labels)
