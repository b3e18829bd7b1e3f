"""What is done to networks whose weights were averaged, by ``nid lmc`` and ``nid merge``."""

from __future__ import annotations

from collections.abc import Sequence

from nid_cli.analysis.catalog import REPAIRS
from nid_cli.analysis.parameters.base import Key
from nid_cli.analysis.parameters.choices import know
from nid_cli.errors import UsageError
from nid_cli.nets.graph import Graph
from nid_cli.nets.preactivations import preactivations


def know_repair(bn_reset: bool, repair: str | None) -> None:
    """Holds a repair against those that there are.

    Raises:
        UsageError: it is none, or stands beside a reset, which it includes.
    """
    if repair is not None:
        know("repair", [repair], list(REPAIRS))
        if bn_reset:
            raise UsageError("--repair resets the statistics of batch norms too", "leave --bn-reset out")


def corrections(bn_reset: bool, repair: str | None, graph: Graph) -> Key:
    """What is done to networks that were averaged, where this one has anything to correct."""
    found: Key = {"bn_reset": True} if bn_reset and graph.statistics else {}
    return found | ({"repair": repair} if repair is not None and preactivations(graph).all else {})


def refuse_corrections(bn_reset: bool, repair: str | None, graphs: Sequence[Graph]) -> None:
    """Holds corrections against the networks of a request.

    Raises:
        UsageError: none of them has anything to correct.
    """
    if repair is not None and not any(preactivations(graph).all for graph in graphs):
        raise UsageError("no selected group has a layer before a norm or an activation to repair", "leave it out")
    if bn_reset and not any(graph.statistics for graph in graphs):
        raise UsageError("no selected group has batch norms, so --bn-reset has nothing to reset", "leave it out")
