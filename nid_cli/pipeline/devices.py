"""The device to compute on."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from nid_cli.errors import UsageError


def is_surely_cpu(name: str) -> bool:
    """Whether ``--device`` will be the CPU, where that can be told without torch."""
    return name == "cpu" or (name == "auto" and sys.platform == "linux" and not any(Path("/dev").glob("nvidia*")))


def torch_device(name: str) -> Any:
    """The device of a ``--device``; ``auto`` takes a GPU where there is one.

    Raises:
        UsageError: no such device on this machine.
    """
    import torch

    # Convolutions in TF32 keep three digits: less than what permuted networks and other machines are held against.
    torch.backends.cudnn.allow_tf32 = False
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UsageError(f"unknown device {name!r}", "choose auto, cpu, cuda or cuda:0") from None
    if device.type not in ("cpu", "cuda"):
        raise UsageError(f"unknown device {name!r}", "choose auto, cpu, cuda or cuda:0")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UsageError(f"there is no device {name} here", "--device cpu works everywhere")
    return device
