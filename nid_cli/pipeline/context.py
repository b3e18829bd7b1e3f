"""What every operation is given by its caller: where things are, who called, and whom to tell about progress."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nid_cli.pipeline.devices import torch_device

# progress(what, done, total, detail): called often, must be cheap. A line is there until all of it is done.
Progress = Callable[[str, float, float, str], None]


def silent(what: str, done: float, total: float, detail: str = "") -> None:
    """Tells nobody."""
    return


@dataclass(frozen=True, kw_only=True)
class Context:
    """The surroundings of one command; ``sweep`` is the id of the sweep that it is a part of."""

    registry: Path | None = None
    data_dir: Path | None = None
    device: str = "auto"
    sweep: int | None = None
    argv: tuple[str, ...] = ()
    progress: Progress = silent
    say: Callable[[str], None] = field(default=lambda sentence: None)

    @property
    def data_folder(self) -> Path:
        """``--data-dir``, else ``NID_DATA_DIR``, else the user's cache folder."""
        if self.data_dir is not None:
            return self.data_dir
        if named := os.environ.get("NID_DATA_DIR"):
            return Path(named)
        from platformdirs import user_cache_path

        return user_cache_path("nid") / "data"

    def torch_device(self) -> Any:
        """The device to compute on (``torch.device``).

        Raises:
            UsageError: no such device on this machine.
        """
        return torch_device(self.device)
