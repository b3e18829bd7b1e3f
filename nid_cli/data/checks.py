"""What parameters of data sets cannot be: one sentence each, or None. No torch."""

from __future__ import annotations

from collections.abc import Mapping

Parameters = Mapping[str, int | float]

# All pairs of nodes are drawn at once.
MOST_NODES = 5000


def _samples(p: Parameters) -> str | None:
    if p["samples"] < 10 or p["test_samples"] < 1:
        return "samples must be at least 10 and test-samples at least 1"
    return None


def _least(p: Parameters, **least: int) -> str | None:
    for name, bound in least.items():
        if name in p and p[name] < bound:
            return f"{name} must be at least {bound}, not {p[name]}"
    return None


def subspace(p: Parameters) -> str | None:
    """Of data in a subspace."""
    if not 1 <= p["k"] <= p["d"]:
        return f"the subspace dimension k must lie between 1 and d = {p['d']}, not {p['k']}"
    return _samples(p) or _least(p, classes=2, m=2, sep=0)


def coherence(p: Parameters) -> str | None:
    """Of rotated images."""
    if not 0 < p["coherence"] <= 1 or not 0 < p["variance"] <= 1:
        return "coherence and variance must lie above 0 and not above 1"
    return None


def augment(p: Parameters) -> str | None:
    """Of images that training may flip and crop."""
    return None if p["augment"] in (0, 1) else f"augment is 0 or 1, not {p['augment']}"


def folder(p: Parameters) -> str | None:
    """Of image folders."""
    if not 4 <= p["size"] <= 1024 or p["classes"] < 2:
        return "size must lie between 4 and 1024, and classes be at least 2"
    return augment(p)


def grammar(p: Parameters) -> str | None:
    """Of sentences."""
    if not 1 <= p["length"] <= 4096:
        return f"length must lie between 1 and 4096 characters, not {p['length']}"
    return _samples(p)


def blocks(p: Parameters) -> str | None:
    """Of stochastic block models."""
    nodes, links = p["nodes"], p["links"]
    if not 8 <= nodes <= MOST_NODES:
        return f"nodes must lie between 8 and {MOST_NODES}, not {nodes}"
    if not 1 <= links <= nodes * (nodes - 1) // 2:
        return f"{nodes} nodes have between 1 and {nodes * (nodes - 1) // 2} links, not {links}"
    if not 2 <= p["classes"] <= nodes:
        return f"classes must lie between 2 and the number of nodes, not {p['classes']}"
    if p["ratio"] == 0:
        return "ratio must lie above 0"
    return _least(p, features=1)


def citations(p: Parameters) -> str | None:
    """Of a graph that is read."""
    return _least(p, nodes=1, features=1, classes=2)
