"""Worker processes with large jobs and large messages, one after another."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from nid_cli.pipeline.engines.jobs import Job, Lost, Over, Place, Said
from nid_cli.pipeline.engines.local import Local

LARGE = 3_000_000


def echo(payload: tuple[int, bytes], held: Mapping[str, Any], device: Any) -> Iterator[tuple[int, int, bytes]]:
    """What it was given, and as much again."""
    number, content = payload
    yield number, sum(map(len, held.values())), bytes(len(content))


@pytest.mark.parametrize("size", [10, LARGE])
def test_driver_and_worker_never_wait_for_each_other(size: int) -> None:
    engine = Local(Place(device="cpu", workers=1))
    engine.prepare()
    found, sent, ended = [], 0, 0
    try:
        while ended < 6:
            while sent < 6 and engine.room() > 0:
                engine.share(str(sent), bytes(size))
                engine.submit(sent, Job(work=f"{__name__}:echo", payload=(sent, bytes(size)), shared=(str(sent),)))
                sent += 1
            for event in engine.wait():
                assert not isinstance(event, Lost)
                found += [event.message] if isinstance(event, Said) else []
                ended += isinstance(event, Over)
    finally:
        engine.close()
    assert found == [(number, size, bytes(size)) for number in range(6)]
