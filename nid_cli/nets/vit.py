"""The vision transformer (Dosovitskiy et al. 2021): patches as tokens; the class from their mean."""

from __future__ import annotations

from math import gcd

from nid_cli.errors import UsageError
from nid_cli.nets.builder import Builder
from nid_cli.nets.calls import INPUT
from nid_cli.nets.graph import Graph
from nid_cli.nets.transformer import blocks, nearest_divisor
from nid_cli.specs import Measures


def vit(
    measures: Measures,
    *,
    width: int,
    depth: int,
    norm: str,
    activation: str,
    gated: bool,
    heads: int,
    patch: int,
) -> Graph:
    """A vision transformer of ``depth`` blocks and ``width`` channels, with a learned table of positions.

    Args:
        measures: of images: channels, height, width.
        norm: ``layer``.
        activation: of the blocks' hidden units; replaced by x * sigmoid(C x) where ``gated``.
        patch: the side of a patch in pixels.

    Raises:
        UsageError: the inputs are no images, the patches do not divide them, or the heads not the width.
    """
    if len(measures.shape) != 3:
        raise UsageError("a vit needs images, and this data set has none", "choose another with --dataset")
    _, high, wide = measures.shape
    if patch < 1 or high % patch or wide % patch:
        near = nearest_divisor(gcd(high, wide), patch)
        raise UsageError(f"patches of {patch} x {patch} do not divide pictures of {high} x {wide}", f"--patch {near}")
    build = Builder(measures.shape)
    last = build.positions("positions", build.patches("patches", INPUT, width, patch))
    last = blocks(build, last, depth=depth, heads=heads, activation=activation, gated=gated)
    build.linear("head", build.pool("pool", last), measures.outputs)
    return build.graph()
