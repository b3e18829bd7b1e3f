"""Networks as files for others: state dictionaries as the network's own module would save them."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

from nid_cli.errors import UsageError

if TYPE_CHECKING:
    from nid_cli.nets.functional import State
    from nid_cli.nets.graph import Graph

FORMATS = (".safetensors", ".pt", ".pth")


def check_path(option: str, path: Path, suffixes: tuple[str, ...]) -> None:
    """Refuses files that cannot be written.

    Raises:
        UsageError: another ending, or a folder that is not there.
    """
    if path.suffix not in suffixes:
        raise UsageError(f"{option} {str(path)!r} must end in {' or '.join(suffixes)}")
    if not path.absolute().parent.is_dir():
        raise UsageError(f"the folder of {option} {str(path)!r} does not exist", "make it first")


def dictionary(graph: Graph, state: State) -> State:
    """What the network's own module would save: its parameters under all their names, and its buffers."""
    described = graph.description
    names = [*graph.parameters, *(name for name in graph.buffers if described.buffers[name].persistent)]
    found = {name: state[name].detach().cpu().contiguous() for name in names}
    return found | {name: found[first] for name, first in described.tied.items()}


def content(state: State, suffix: str) -> bytes:
    """A state dictionary as a file of this ending."""
    import torch

    from nid_cli.nets.storage import to_bytes

    if suffix == ".safetensors":  # where each name has bytes of its own
        return to_bytes({name: tensor.clone() for name, tensor in state.items()})
    buffer = io.BytesIO()
    torch.save(dict(state), buffer)
    return buffer.getvalue()
