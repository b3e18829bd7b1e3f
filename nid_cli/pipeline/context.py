"""What every operation is given by its caller: where things are, who called, and whom to tell about progress."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nid_cli.errors import UsageError

# progress(what, done, total, detail): called often, must be cheap. A line is there until all of it is done.
Progress = Callable[[str, float, float, str], None]


def silent(what: str, done: float, total: float, detail: str = "") -> None:
    """Tells nobody."""
    return


@dataclass(frozen=True, kw_only=True)
class Context:
    """The surroundings of one command."""

    registry: Path | None = None
    data_dir: Path | None = None
    device: str = "auto"
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
        """The device to compute on; ``auto`` takes a GPU where there is one.

        Raises:
            UsageError: no such device on this machine.
        """
        import torch

        # Convolutions in TF32 keep three digits: less than what permuted networks and other machines are held against.
        torch.backends.cudnn.allow_tf32 = False
        if self.device == "auto":
            return torch.device("cuda" if torch.cuda.is_available() else "cpu")
        try:
            device = torch.device(self.device)
        except RuntimeError:
            raise UsageError(f"unknown device {self.device!r}", "choose auto, cpu, cuda or cuda:0") from None
        if device.type not in ("cpu", "cuda"):
            raise UsageError(f"unknown device {self.device!r}", "choose auto, cpu, cuda or cuda:0")
        if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
            raise UsageError(f"there is no device {self.device} here", "--device cpu works everywhere")
        return device
