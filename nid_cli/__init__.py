"""nid: the neuron-identifiability laboratory."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from nid_cli.pipeline.notebook import Archive

__version__ = "0.1.0"


def open_registry(path: str | Path | None = None) -> Archive:
    """The registry at ``path`` (a file, or a folder that has one), else the nearest one, for use in notebooks.

    Raises:
        NotFoundError: there is none.
    """
    from nid_cli.pipeline.notebook import Archive

    return Archive(path)
