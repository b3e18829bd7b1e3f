"""Blocks of transformers that normalize what they read (Xiong et al. 2020): attention, then a layer of hidden units."""

from __future__ import annotations

from nid_cli.errors import UsageError
from nid_cli.nets.builder import Builder
from nid_cli.nets.calls import Batch, Shape, Value

# Hidden units of a block, for each channel (Vaswani et al. 2017).
HIDDEN = 4


def blocks(
    build: Builder, source: str, *, depth: int, heads: int, activation: str, gated: bool, causal: bool = False
) -> str:
    """``depth`` blocks on tokens (N x T x channels), and a norm after them.

    Args:
        causal: a token attends to itself and to those before it, else to all.

    Raises:
        UsageError: the heads do not divide the channels.
    """
    width = build.channels(source)
    if heads < 1 or width % heads:
        near = nearest_divisor(width, heads)
        raise UsageError(f"{heads} heads do not divide a width of {width}", f"--heads {near}")
    for index in range(depth):
        block = f"blocks.{index}"
        read = build.norm(f"{block}.norm1", source, "layer")
        source = build.add(f"{block}.add1", source, _attention(build, f"{block}.attention", read, heads, causal))
        read = build.norm(f"{block}.norm2", source, "layer")
        hidden = build.linear(f"{block}.mlp.hidden", read, HIDDEN * width)
        hidden = build.activate(f"{block}.mlp.activation", hidden, activation, gated)
        source = build.add(f"{block}.add2", source, build.linear(f"{block}.mlp.output", hidden, width))
    return build.norm("norm", source, "layer")


def _attention(build: Builder, name: str, source: str, heads: int, causal: bool) -> str:
    """softmax(q k^T / sqrt(size)) v in each head, and a linear layer of all heads together."""
    samples, tokens, width = build.shapes[source]
    assert isinstance(width, int)
    apart: Shape = (samples, tokens, heads, width // heads)

    def projected(part: str) -> Value:
        whole = build.linear(f"{name}.{part}", source, width)
        cut = build.call(f"{name}.{part}.cut", "view.default", Value(whole), apart, shape=apart)
        return Value(build.transpose(f"{name}.{part}.heads", cut))

    read = [projected(part) for part in ("query", "key", "value")]
    shape = (Batch(), heads, tokens, width // heads)
    mixed = build.call(f"{name}.mixed", "scaled_dot_product_attention.default", *read, None, 0.0, causal, shape=shape)
    joined = build.transpose(f"{name}.joined", mixed)
    flat = build.call(f"{name}.flat", "flatten.using_ints", Value(joined), 2, -1, shape=build.shapes[source])
    return build.linear(f"{name}.output", flat, width)


def nearest_divisor(whole: int, wanted: int) -> int:
    """The divisor of ``whole`` that is nearest to ``wanted``; of two the larger one."""
    divisors = [number for number in range(1, whole + 1) if whole % number == 0]
    return min(divisors, key=lambda number: (abs(number - wanted), -number))
