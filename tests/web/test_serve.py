"""``nid ui`` as a process: where it listens, how it ends, what it refuses."""

from __future__ import annotations

import re
import shutil
import signal
import socket
import sqlite3
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from nid_cli.errors import UsageError
from nid_cli.web import serve as serving
from tests.cli.test_disk import _give_up_privileges
from tests.conftest import Terminal
from tests.web.conftest import Server

Start = Callable[..., Server]


def read(address: str, **headers: str) -> tuple[int, str]:
    """Status and text of an answer."""
    try:
        with urllib.request.urlopen(urllib.request.Request(address, headers=headers), timeout=20) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_it_answers_on_the_next_free_port_without_torch_and_ends_at_once(still: Path, serve: Start) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        server = serve(still.parent, "--port", str(port))
        found = re.fullmatch(r"http://127\.0\.0\.1:(\d+)/", server.address)
        assert found is not None and port < int(found[1]) < port + 100
        status, page = read(server.address)
        assert status == 200 and "baseline" in page
        assert read(f"{server.address}draw/training.svg?group=baseline")[0] == 200
        if sys.platform == "linux":
            process = Path(f"/proc/{server.process.pid}")
            assert "libtorch" not in (process / "maps").read_text()
            peak = re.search(r"VmHWM:\s+(\d+) kB", (process / "status").read_text())
            assert peak is not None and int(peak[1]) < 400_000
        # Bytes that are no request, and one that is too long, leave it as it is.
        for wrong in (
            b"\0\xff nonsense\r\n\r\n",
            b"GET /?" + b"x" * 10_000_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
        ):
            with closing(socket.create_connection(("127.0.0.1", int(found[1])), timeout=20)) as connection:
                try:
                    connection.sendall(wrong)
                    answer = connection.recv(100)
                except ConnectionError:  # it need not read to the end
                    continue
                assert answer == b"" or answer.startswith(b"HTTP/1.1 4")
        assert read(server.address)[0] == 200
        began = time.monotonic()
        code, said = server.end()
    assert code == 0 and f"port {port} is in use; this is port {found[1]}" in said and "Traceback" not in said
    assert time.monotonic() - began < 10


def test_a_figure_in_the_making_does_not_hold_up_the_end(still: Path, serve: Start) -> None:
    server = serve(still.parent, "--port", "0")
    host, port = server.address.split("/")[2].split(":")
    with closing(socket.create_connection((host, int(port)), timeout=20)) as connection:
        connection.sendall(b"GET /figure/cost?group=baseline HTTP/1.1\r\nHost: localhost\r\n\r\n")
        time.sleep(0.2)
        assert server.end()[0] == 0


def test_other_machines_are_given_an_address_with_a_token(still: Path, serve: Start) -> None:
    server = serve(still.parent, "--port", "0", "--host", "127.0.0.1")
    found = re.fullmatch(r"(http://127\.0\.0\.1:\d+/)\?token=([\w-]{32})", server.address)
    assert found is not None
    assert read(found[1])[0] == 403 and read(server.address)[0] == 200
    assert server.end(signal.SIGTERM)[0] == 0


def test_a_registry_that_may_only_be_read_is_shown(terminal: Terminal, tmp_path: Path, serve: Start) -> None:
    everything = [terminal.folder / ".nid", *(terminal.folder / ".nid").rglob("*")]
    for path in everything:
        path.chmod(0o555 if path.is_dir() else 0o444)
    server = serve(terminal.folder, "--port", "0", prepare=_give_up_privileges)
    if server.process.poll() == 99:
        pytest.skip("root cannot give up its privileges here")
    assert "baseline" in read(server.address)[1]
    assert read(f"{server.address}draw/lmc.svg?group=baseline&points=3")[0] == 200
    assert server.end()[0] == 0


def test_what_is_not_there_is_a_sentence(terminal: Terminal, tmp_path: Path, monkeypatch: Any) -> None:
    assert terminal("ui", "--no-open", "--registry", "nothing.db") == 3
    assert "there is no registry" in terminal.errors and "Traceback" not in terminal.errors
    newer = tmp_path / "newer.db"
    shutil.copy(terminal.database, newer)
    with closing(sqlite3.connect(newer)) as connection, connection:
        connection.execute("UPDATE nid_version SET version_num = '9999'")
    assert terminal("ui", "--no-open", "--registry", str(newer)) == 4
    assert "newer nid" in terminal.errors and "upgrade nid" in terminal.errors
    assert terminal("ui", "--no-open", "--host", "no.such.host.example") == 2 and "no address" in terminal.errors
    assert terminal("ui", "--no-open", "--host", "192.0.2.1") == 2 and "cannot listen" in terminal.errors
    assert terminal("ui", "--port", "70000") == 2
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert terminal("ui", "--no-open") == 1
    assert "needs starlette" in terminal.errors and "pip install 'nid[ui]'" in terminal.errors


def test_no_free_port_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "TRIES", 1)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(UsageError, match="no port"):
            serving.listen("127.0.0.1", taken.getsockname()[1])


@pytest.mark.parametrize(
    ("host", "address"),
    [
        (None, "http://127.0.0.1:1/"),
        ("::1", "http://[::1]:1/?token=t"),
        ("lab.example", "http://lab.example:1/?token=t"),
    ],
)
def test_addresses_are_those_that_a_browser_opens(host: str | None, address: str) -> None:
    assert serving.address_of(host, 1, "t" if host else None) == address
    rules = serving.rules_of(host, 1)
    assert rules.knows(address.split("/")[2]) and (rules.token is None) == (host is None)
    assert not rules.knows("evil.example")
