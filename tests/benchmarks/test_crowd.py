"""A short version of the crowd harness."""

from __future__ import annotations

import pytest

from tests.benchmarks import crowd


def test_eight_processes_share_a_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NID_REGISTRY", raising=False)
    assert crowd.run(1, repeat=8)["processes"] == 8
