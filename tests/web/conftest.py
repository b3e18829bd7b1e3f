"""A site on the frozen registry, asked in this process; and a server of its own, asked as a browser does."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from nid_cli.pipeline.context import Context
from nid_cli.web.app import application
from nid_cli.web.desk import Desk
from nid_cli.web.guard import Rules
from tests.conftest import Terminal

HOME = "http://127.0.0.1:8017"


class Server:
    """``nid ui`` in a process of its own; ``address`` is what it printed."""

    def __init__(self, folder: Path, *arguments: str, prepare: Callable[[], None] | None = None) -> None:
        self.folder = folder
        self.process = subprocess.Popen(
            [sys.executable, "-m", "nid_cli", "ui", "--no-open", *arguments],
            cwd=folder,
            env={k: v for k, v in os.environ.items() if not k.startswith("NID_")},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=prepare,
        )
        assert self.process.stdout is not None
        self.address = self.process.stdout.readline().strip()

    def end(self, number: int = signal.SIGINT) -> tuple[int, str]:
        """Sends a signal; returns the exit code and what was said."""
        self.process.send_signal(number)
        _, said = self.process.communicate(timeout=20)
        return self.process.returncode, said


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    """Starts servers, which end with the test."""
    started: list[Server] = []

    def start(folder: Path, *arguments: str, **given: Any) -> Server:
        started.append(Server(folder, *arguments, **given))
        return started[-1]

    yield start
    for server in started:
        if server.process.poll() is None:
            server.process.kill()
            server.process.communicate()


@pytest.fixture(scope="session")
def still(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The frozen registry as ``terminal`` has it, shared: read it, do not write to it."""
    from nid_cli.registry.opening import open_for_writing

    folder = tmp_path_factory.mktemp("still")
    with tarfile.open(Path(__file__).parents[1] / "registry/frozen/0001.tar.gz") as tar:
        tar.extractall(folder, filter="data")
    open_for_writing(folder / ".nid/registry.db")
    return folder / ".nid/registry.db"


@pytest.fixture(scope="session")
def desk(still: Path) -> Desk:
    """What the pages of ``site`` are made from."""
    return Desk(context=Context(registry=still), place=still)


@pytest.fixture(scope="session")
def site(desk: Desk) -> Iterator[Any]:
    """A client of the whole application, on the shared registry."""
    with TestClient(application(desk, Rules()), base_url=HOME) as client:
        yield client


@pytest.fixture
def own_site(terminal: Terminal) -> Iterator[Any]:
    """A client of the whole application, on the registry of ``terminal``."""
    own = Desk(context=Context(), place=terminal.database)
    with TestClient(application(own, Rules()), base_url=HOME) as client:
        yield client
