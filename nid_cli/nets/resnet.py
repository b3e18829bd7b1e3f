"""The residual network for small images: three stages of basic blocks, of any depth 6n + 2 (docs/science.md, 2)."""

from __future__ import annotations

from nid_cli.errors import UsageError
from nid_cli.nets.graph import INPUT, Graph, Op

STAGES = 3
STEM_WIDTH = 16


def resnet(
    *, input_shape: tuple[int, ...], width: int, depth: int, outputs: int, norm: str, activation: str, gated: bool
) -> Graph:
    """A ResNet of ``depth`` layers and 16, 32 and 64 times ``width`` channels.

    Blocks are conv, norm, activation, conv, norm, add, activation; the first of stages 2 and 3 halves the image and
    has a 1 x 1 conv with a norm on its shortcut.

    Args:
        input_shape: channels, height, width.
        norm: ``group`` (GroupNorm of one group) or ``batch``.
        activation: ``relu``, ``gelu`` or ``identity``; replaced by x * sigmoid(C x) over channels where ``gated``.

    Raises:
        UsageError: the depth is not 6n + 2, or the inputs are no images.
    """
    if depth % 6 != 2:
        near = max(8, 6 * round((depth - 2) / 6) + 2)
        raise UsageError(f"a resnet has depth 6n + 2 (8, 14, 20, 32, 56, 110, ...), not {depth}", f"--depth {near}")
    if len(input_shape) != 3:
        raise UsageError("a resnet needs images, and this data set has none", "choose another with --dataset")
    ops: list[Op] = []

    def conv(name: str, source: Op | None, channels: int, kernel: int, stride: int = 1) -> Op:
        before, sources = (source.channels, (source.name,)) if source else (input_shape[0], (INPUT,))
        fan_in = before * kernel * kernel
        op = Op(name=name, kind="conv", inputs=sources, channels=channels, fan_in=fan_in, kernel=kernel, stride=stride)
        ops.append(op)
        return op

    def then(name: str, kind: str, *sources: Op, function: str = "", gate_sd: float = 1.0) -> Op:
        inputs, channels = tuple(op.name for op in sources), sources[0].channels
        op = Op(name=name, kind=kind, inputs=inputs, channels=channels, function=function, gate_sd=gate_sd)
        ops.append(op)
        return op

    def activate(name: str, source: Op) -> Op:
        if gated:
            return then(name, "gate", source, gate_sd=source.channels**-0.5)
        return then(name, "activation", source, function=activation)

    def block(name: str, source: Op, channels: int, stride: int) -> Op:
        inner = then(f"{name}.norm1", "norm", conv(f"{name}.conv1", source, channels, 3, stride), function=norm)
        outer = conv(f"{name}.conv2", activate(f"{name}.activation1", inner), channels, 3)
        outer = then(f"{name}.norm2", "norm", outer, function=norm)
        if stride > 1:
            source = conv(f"{name}.shortcut.conv", source, channels, 1, stride)
            source = then(f"{name}.shortcut.norm", "norm", source, function=norm)
        return activate(f"{name}.activation2", then(f"{name}.add", "add", outer, source))

    stem = then("stem.norm", "norm", conv("stem.conv", None, STEM_WIDTH * width, 3), function=norm)
    last = activate("stem.activation", stem)
    for stage in range(STAGES):
        for index in range((depth - 2) // 6):
            stride = 2 if stage and not index else 1
            last = block(f"stage{stage + 1}.{index}", last, STEM_WIDTH * width * 2**stage, stride)
    pooled = then("pool", "pool", last)
    ops.append(Op(name="linear", kind="linear", inputs=("pool",), channels=outputs, fan_in=pooled.channels))
    return Graph(ops, input_shape)
