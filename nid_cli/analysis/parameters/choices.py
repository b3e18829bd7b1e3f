"""Names that parameters choose: recording points, alignments, layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from nid_cli.errors import UsageError, unknown
from nid_cli.nets.graph import Graph


def output_of(graph: Graph) -> str:
    """The name of a network's output where layers are named."""
    return "output" if "output" not in graph.layers else "the output"


def know(what: str, names: Sequence[str], choices: Sequence[str]) -> None:
    """Holds names against those that there are.

    Raises:
        UsageError: one is none of them.
    """
    for name in names:
        if name not in choices:
            raise unknown(what, name, choices)


def choose(layers: Sequence[str], labels: Mapping[str, str], what: str = "layer") -> list[str]:
    """The names of layers that were chosen by label, name or index, in this order of precedence.

    Args:
        labels: their names in order, by what records call them.

    Raises:
        UsageError: there is none of that name.
    """
    names = list(labels.values())
    known = {str(index): name for index, name in enumerate(names)} | {name: name for name in names} | dict(labels)
    if wrong := [layer for layer in layers if layer not in known]:
        shown = names if all(label.isdigit() for label in labels) else labels
        raise UsageError(
            f"there is no {what} {wrong[0]}; {what}s are 0 to {len(names) - 1}, or {', '.join(shown)}"
            if names
            else f"there is no {what} {wrong[0]}, nor any other"
        )
    return list(dict.fromkeys(known[layer] for layer in layers))


def by_name(names: Sequence[str]) -> dict[str, str]:
    """Labels of what records call by its name."""
    return {name: name for name in names}
