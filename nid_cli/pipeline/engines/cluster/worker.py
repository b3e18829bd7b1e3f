"""The life of a worker of a Ray cluster: a process that works off one job after another, and holds what they share."""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from nid_cli.pipeline.engines import worker
from nid_cli.pipeline.engines.cluster.items import OVER, SAID
from nid_cli.pipeline.engines.cluster.packing import unpack
from nid_cli.pipeline.engines.jobs import Job

# For how many jobs that do not name it a worker holds a shared value.
KEEP_JOBS = 4


@dataclass
class _Held:
    """A value, and how many jobs ago it was named last."""

    value: Any
    idle: int = 0


# By the references (hex) to what was packed: a key can be given to another value, a reference cannot.
_held: dict[str, _Held] = {}


def work(job: bytes, shared: Mapping[str, Any], settings: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """The items of a job's stream after the first: its messages, then (OVER, what ended it early or None).

    For the arguments see :func:`~nid_cli.pipeline.engines.cluster.visit.visit`.
    """
    import torch

    from nid_cli.pipeline.devices import torch_device

    if settings["threads"] is not None:
        torch.set_num_threads(settings["threads"])
    try:
        own: Job = pickle.loads(job)
        device = torch_device("cuda" if settings["gpu"] else "cpu")
        for message in worker.messages(own, _hold(shared, device), device):
            yield SAID, message
    except Exception as error:
        yield OVER, worker.failure(error)
    else:
        yield OVER, None


def _hold(shared: Mapping[str, Any], device: Any) -> dict[str, Any]:
    """Values by their keys, fetched where this process does not hold them yet; lets go of what nobody names."""
    import ray

    for name, held in list(_held.items()):
        held.idle += 1
        if held.idle > KEEP_JOBS:
            del _held[name]
    new = [reference for reference in shared.values() if reference.hex() not in _held]
    for reference, packed in zip(new, ray.get(new), strict=True):
        value = unpack(packed)
        _held[reference.hex()] = _Held(value.to(device) if hasattr(value, "to") else value)
    for reference in shared.values():
        _held[reference.hex()].idle = 0
    return {key: _held[reference.hex()].value for key, reference in shared.items()}
