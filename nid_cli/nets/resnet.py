"""The residual network for small images: three stages of basic blocks, of any depth 6n + 2 (docs/science.md, 2)."""

from __future__ import annotations

from nid_cli.errors import UsageError
from nid_cli.nets.builder import Builder
from nid_cli.nets.calls import INPUT
from nid_cli.nets.graph import Graph
from nid_cli.specs import Measures

STAGES = 3
STEM_WIDTH = 16


def resnet(measures: Measures, *, width: int, depth: int, norm: str, activation: str, gated: bool) -> Graph:
    """A ResNet of ``depth`` layers and 16, 32 and 64 times ``width`` channels.

    Blocks are conv, norm, activation, conv, norm, add, activation; the first of stages 2 and 3 halves the image and
    has a 1 x 1 conv with a norm on its shortcut.

    Args:
        measures: of images: channels, height, width.
        norm: ``group`` (GroupNorm of one group) or ``batch``.
        activation: ``relu``, ``gelu`` or ``identity``; replaced by x * sigmoid(C x) over channels where ``gated``.

    Raises:
        UsageError: the depth is not 6n + 2, or the inputs are no images.
    """
    if depth % 6 != 2:
        near = max(8, 6 * round((depth - 2) / 6) + 2)
        raise UsageError(f"a resnet has depth 6n + 2 (8, 14, 20, 32, 56, 110, ...), not {depth}", f"--depth {near}")
    if len(measures.shape) != 3:
        raise UsageError("a resnet needs images, and this data set has none", "choose another with --dataset")
    build = Builder(measures.shape)
    inner: dict[str, int | str] = {}

    def activate(name: str, source: str) -> str:
        return build.activate(name, source, activation, gated)

    def block(name: str, source: str, channels: int, stride: int) -> str:
        first = build.norm(f"{name}.norm1", build.conv(f"{name}.conv1", source, channels, 3, stride), norm)
        inner[f"{name}.conv1"] = name
        outer = build.conv(f"{name}.conv2", activate(f"{name}.activation1", first), channels, 3)
        outer = build.norm(f"{name}.norm2", outer, norm)
        if stride > 1:
            source = build.conv(f"{name}.shortcut.conv", source, channels, 1, stride)
            source = build.norm(f"{name}.shortcut.norm", source, norm)
        return activate(f"{name}.activation2", build.add(f"{name}.add", outer, source))

    last = build.norm("stem.norm", build.conv("stem.conv", INPUT, STEM_WIDTH * width, 3), norm)
    last = activate("stem.activation", last)
    for stage in range(STAGES):
        for index in range((depth - 2) // 6):
            stride = 2 if stage and not index else 1
            last = block(f"stage{stage + 1}.{index}", last, STEM_WIDTH * width * 2**stage, stride)
    build.linear("linear", build.pool("pool", last), measures.outputs)
    return build.graph(space_labels=inner)
