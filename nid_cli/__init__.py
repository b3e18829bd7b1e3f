"""nid: the neuron-identifiability laboratory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nid_cli.version import __version__

if TYPE_CHECKING:
    from nid_cli.notebook import open_registry

__all__ = ["__version__", "open_registry"]


def __getattr__(name: str) -> Any:
    """What is handed on from elsewhere, imported when it is asked for: a command line must start at once."""
    if name == "open_registry":
        from nid_cli.notebook import open_registry

        return open_registry
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
