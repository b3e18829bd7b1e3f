"""A short version of the kill harness: one kill of each command here, 25 in ``kills.py``."""

from __future__ import annotations

import pytest

from tests.benchmarks import kills


@pytest.mark.parametrize("name", ["train", "register", "lmc", "backup"])
def test_a_killed_command_loses_nothing(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NID_REGISTRY", raising=False)
    figures = kills.run(3, small=True, seed=7, only=(name,))[name]
    assert figures.kills == 3 and figures.rows > 0
