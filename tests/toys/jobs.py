"""Small jobs for engines, which workers import by name."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from nid_cli.errors import UsageError


def count(payload: Mapping[str, Any], held: Mapping[str, Any], device: Any) -> Iterator[int]:
    """The numbers from ``start`` to ``stop``, ``pause`` seconds between them."""
    for number in range(payload.get("start", 0), payload["stop"]):
        time.sleep(payload.get("pause", 0))
        yield number


def clock(payload: int, held: Mapping[str, Any], device: Any) -> Iterator[float]:
    """At what time each of so many messages was made."""
    for _ in range(payload):
        yield time.time()


def look(payload: Any, held: Mapping[str, Any], device: Any) -> Iterator[dict[str, Any]]:
    """This process, and for each shared value which object it is here, its sum, and where its contents are from."""
    import torch

    from nid_cli.pipeline.engines.cluster import worker as cluster_worker

    yield {
        "pid": os.getpid(),
        "device": str(device),
        "threads": torch.get_num_threads(),
        "objects": {key: id(value) for key, value in held.items()},
        "sums": {key: int(value.train.inputs.sum()) for key, value in held.items()},
        "held": len(cluster_worker._held),
        "fingerprints": {key: value.fingerprint() for key, value in held.items()},
    }


def large(payload: int, held: Mapping[str, Any], device: Any) -> Iterator[bytes]:
    """Three messages of so many bytes."""
    for number in range(3):
        yield bytes([number]) * payload


def fail(payload: str, held: Mapping[str, Any], device: Any) -> Iterator[str]:
    """One message, then what ``payload`` says."""
    yield "before"
    if payload == "sentence":
        raise UsageError("there is no such thing", "try another")
    if payload == "bug":
        raise ZeroDivisionError("by nought")
    if payload == "unsendable":
        yield threading.Lock()  # type: ignore[misc]
    if payload == "killed":
        os.kill(os.getpid(), 9)


def mark(payload: str, held: Mapping[str, Any], device: Any) -> Iterator[int]:
    """Writes the time into a file for as long as it lives."""
    Path(payload).write_text(str(time.time()))
    yield os.getpid()
    while True:
        Path(payload).write_text(str(time.time()))
        time.sleep(0.05)
