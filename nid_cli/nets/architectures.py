"""The one table of architectures: from the values of a specification to a graph, and the values it accepts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from nid_cli.errors import UsageError, unknown
from nid_cli.nets.builder import ACTIVATIONS
from nid_cli.nets.gcn import gcn
from nid_cli.nets.gpt import gpt
from nid_cli.nets.graph import Graph
from nid_cli.nets.mlp import mlp
from nid_cli.nets.resnet import resnet
from nid_cli.nets.vit import vit
from nid_cli.specs import Measures, NetworkSpec

# What only some architectures have.
OPTIONS = ("heads", "patch", "tied")


@dataclass(frozen=True)
class Architecture:
    """``build(measures, width=, depth=, norm=, activation=, gated=)`` makes the graph, which accepts ``norms`` and
    depths from ``min_depth`` on; ``options`` are those of ``OPTIONS`` that it takes beside.

    It reads numbers and answers once a sample, or what ``reads`` says: ``tokens`` (whole numbers below a vocabulary)
    or ``nodes`` (of a graph), with an answer for each.
    """

    build: Callable[..., Graph]
    norms: tuple[str, ...]
    min_depth: int
    options: tuple[str, ...] = ()
    reads: str = "numbers"


ARCHITECTURES = {
    "mlp": Architecture(mlp, norms=("layer", "batch", "none"), min_depth=2),
    "resnet": Architecture(resnet, norms=("group", "batch"), min_depth=8),
    "vit": Architecture(vit, norms=("layer",), min_depth=1, options=("heads", "patch")),
    "gpt": Architecture(gpt, norms=("layer",), min_depth=1, options=("heads", "tied"), reads="tokens"),
    "gcn": Architecture(gcn, norms=("layer", "batch", "none"), min_depth=2, reads="nodes"),
}


def build(network: NetworkSpec, measures: Measures, *, gated: bool = False) -> Graph:
    """The graph of an architecture for data of these measures; ``gated``: with gates in the place of activations.

    Raises:
        UsageError: an architecture, norm or depth that does not exist, or one that cannot read such data.
    """
    if network.arch not in ARCHITECTURES:
        raise unknown("architecture", network.arch, ARCHITECTURES)
    architecture = ARCHITECTURES[network.arch]
    assert network.width is not None and network.depth is not None
    if network.norm not in architecture.norms:
        raise unknown(f"norm for {network.arch}", network.norm, architecture.norms)
    if network.activation not in ACTIVATIONS:
        raise unknown("activation", network.activation, ACTIVATIONS)
    if network.depth < architecture.min_depth or network.width < 1:
        raise UsageError(f"{network.arch} needs depth >= {architecture.min_depth} and width >= 1")
    offered = _kind(measures)
    if offered != architecture.reads:
        raise UsageError(
            f"{network.arch} reads {architecture.reads}, but the data set offers {offered}",
            "choose another with --dataset",
        )
    if offered != "numbers" and (measures.targets, measures.positions) != ("positions", measures.shape[0]):
        raise UsageError(
            f"{network.arch} answers for each of {measures.shape[0]} {offered}, but the targets of the data set do not",
            "choose another with --dataset",
        )
    for name in OPTIONS:
        if name in architecture.options and getattr(network, name) is None:
            raise UsageError(f"{network.arch} needs {name}", f"--{name} says it")
        if name not in architecture.options and getattr(network, name) is not None:
            raise UsageError(f"{network.arch} has no {name}", f"leave --{name} out")
    own = {name: getattr(network, name) for name in ("width", "depth", "norm", "activation", *architecture.options)}
    return architecture.build(measures, gated=gated, **own)


def _kind(measures: Measures) -> str:
    if measures.links is not None:
        return "nodes"
    if measures.vocabulary is not None:
        return "tokens"
    return "numbers with a class each" if measures.targets == "positions" else "numbers"
