"""A wish to stop is heard wherever it comes, once, and leaves nothing half-said."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from nid_cli import stopping
from nid_cli.registry import invocations
from tests.conftest import Terminal

PROLOGUE = """
import os, signal, sys, time
from nid_cli import stopping
def stop(): os.kill(os.getpid(), signal.SIGINT)
class Lost:
    def __del__(self): stop()
stopping.listen()
"""


def execute(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", PROLOGUE + code], capture_output=True, text=True, timeout=60)


def test_what_a_destructor_loses_comes_again_without_a_word() -> None:
    done = execute("""
try:
    Lost()
    time.sleep(30)
except KeyboardInterrupt:
    print("heard")
""")
    assert (done.stdout, done.stderr) == ("heard\n", "")


def test_who_is_on_the_way_out_is_not_stopped_again() -> None:
    done = execute("""
try:
    try:
        stop()
    finally:
        stop()
        time.sleep(3 * stopping.AGAIN_S)
        print("tidied")
except KeyboardInterrupt:
    time.sleep(2 * stopping.AGAIN_S)
    stopping.over()
time.sleep(2 * stopping.AGAIN_S)
print("over")
""")
    assert (done.stdout, done.stderr) == ("tidied\nover\n", "")


def test_a_wish_is_put_off_to_the_end_of_a_block() -> None:
    done = execute("""
try:
    with stopping.put_off(), stopping.put_off():
        stop()
        time.sleep(2 * stopping.AGAIN_S)
        print("whole")
    print("never")
except KeyboardInterrupt:
    print("heard")
""")
    assert (done.stdout, done.stderr) == ("whole\nheard\n", "")


@pytest.mark.parametrize("interruption", ["exec('raise KeyboardInterrupt')", "stop(); raise ImportError", "stop()"])
def test_the_exit_code_is_130_wherever_it_was_interrupted(interruption: str) -> None:
    done = execute(f"""
import nid_cli.cli.app as app
from nid_cli.__main__ import main
class Command:
    def __call__(self, *arguments, **options):
        {interruption}
        time.sleep(30)
app.app = Command()
main()
""")
    assert done.returncode == 130, done
    assert done.stderr.count("error: interrupted") == done.stderr.count("hint: ") == done.stderr.count("kept") == 1


def test_nohup_keeps_its_promise() -> None:
    done = execute("""
signal.signal(signal.SIGHUP, signal.SIG_IGN)
stopping.listen()
os.kill(os.getpid(), signal.SIGHUP)
print("goes on")
""")
    assert done.stdout == "goes on\n"


@pytest.fixture
def listening() -> Iterator[None]:
    numbers = (*stopping.SIGNALS, signal.SIGALRM)
    before, hook = {number: signal.getsignal(number) for number in numbers}, sys.unraisablehook
    stopping.listen()
    yield
    sys.unraisablehook = hook
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize(
    "arguments",
    [("lmc", "--force", "--align", "none"), ("train", "--width", "4", "--depth", "2", "--epochs", "1", "--seeds", "1")],
)
def test_a_command_stopped_as_it_begins_does_not_stay_running(
    arguments: tuple[str, ...], terminal: Terminal, monkeypatch: pytest.MonkeyPatch, listening: None
) -> None:
    begin = invocations.begin

    def begin_and_stop(*given: Any) -> int:
        os.kill(os.getpid(), signal.SIGINT)
        return begin(*given)

    monkeypatch.setattr(invocations, "begin", begin_and_stop)
    assert terminal(*arguments) == 130
    assert "kept" in terminal.errors and "goes on" in terminal.errors
    with closing(sqlite3.connect(terminal.database)) as connection:
        last = connection.execute("SELECT status FROM invocations ORDER BY id DESC").fetchone()
        training = connection.execute("SELECT count(*) FROM models WHERE status = 'training'").fetchone()
    assert (last, training) == (("interrupted",), (0,))


def test_the_fork_server_does_not_complain() -> None:
    code = """
import os, signal, time
from nid_cli.pipeline.engines import local
from nid_cli.pipeline.engines.jobs import Place
try:
    local.Local(Place()).prepare()
    time.sleep(0.3)
    os.killpg(0, signal.SIGINT)
    time.sleep(1)
except KeyboardInterrupt:
    time.sleep(1)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, start_new_session=True
    )
    assert done.stderr == "", done.stderr
