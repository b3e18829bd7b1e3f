"""The language model GPT-2 (Radford et al. 2019) in small: what comes next, at each token."""

from __future__ import annotations

from nid_cli.errors import UsageError
from nid_cli.nets.builder import Builder
from nid_cli.nets.calls import INPUT, Stored
from nid_cli.nets.graph import Graph
from nid_cli.nets.transformer import blocks
from nid_cli.specs import Measures


def gpt(
    measures: Measures,
    *,
    width: int,
    depth: int,
    norm: str,
    activation: str,
    gated: bool,
    heads: int,
    tied: bool,
) -> Graph:
    """A causal transformer of ``depth`` blocks and ``width`` channels, with learned tables of tokens and positions.

    Args:
        measures: of sequences of tokens (T,) below a vocabulary.
        norm: ``layer``.
        activation: of the blocks' hidden units; replaced by x * sigmoid(C x) where ``gated``.
        tied: whether the output's weight is the embedding, one tensor in both places (Press & Wolf 2017).

    Raises:
        UsageError: the inputs are no sequences, the heads do not divide the width, or the outputs are not the
            vocabulary, though tied to it.
    """
    if len(measures.shape) != 1 or measures.vocabulary is None:
        raise UsageError("a gpt needs sequences of tokens, and this data set has none", "choose another with --dataset")
    if tied and measures.outputs != measures.vocabulary:
        raise UsageError(
            f"{measures.outputs} outputs cannot be tied to a vocabulary of {measures.vocabulary}", "leave --tied out"
        )
    build = Builder(measures.shape, measures.vocabulary)
    last = build.positions("positions", build.embedding("embedding", INPUT, width))
    last = blocks(build, last, depth=depth, heads=heads, activation=activation, gated=gated, causal=True)
    build.linear("head", last, measures.outputs, bias=False, weight=Stored("embedding.weight") if tied else None)
    return build.graph()
