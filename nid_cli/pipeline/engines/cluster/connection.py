"""The way into a Ray cluster that runs already: within seconds, or one sentence. No cluster is ever started here."""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from nid_cli import stopping
from nid_cli.errors import NidError, UsageError

# How long an address may take to answer, and then Ray to take this process in: together less than ten seconds.
KNOCK_S, ENTER_S = 3.0, 6.5
AUTO = "auto"


def connect(address: str | None) -> tuple[Any, str]:
    """Makes this process a driver of the cluster at ``address`` (None or ``auto``: the one that runs here).

    Returns:
        The module ``ray``, and the address that was found, HOST:PORT.

    Raises:
        UsageError: not an address.
        NidError: Ray is not installed, nobody answers, or whoever answers does not take this machine in.
    """
    ray = _import()
    address = find(ray, address)
    if not answers(address, KNOCK_S):
        raise NidError(
            f"no Ray cluster answers at {address}",
            "`ray start --head` on its main machine prints the address; `ray status --address HOST:PORT` tries it",
        )
    _enter(ray, address)
    return ray, address


def find(ray: Any, address: str | None) -> str:
    """The HOST:PORT that ``address`` means.

    Raises:
        UsageError: it is not one.
        NidError: ``auto``, and no cluster runs here.
    """
    # As Ray does, so that a job of `ray job submit` finds the cluster that it belongs to.
    wanted = address if address and address != AUTO else os.environ.get("RAY_ADDRESS") or AUTO
    if wanted == AUTO:
        from ray._private.services import canonicalize_bootstrap_address

        try:
            wanted = str(canonicalize_bootstrap_address(AUTO))
        except ConnectionError:
            raise NidError(
                "no Ray cluster runs on this machine",
                "`ray start --head` starts one, `ray start --address HOST:PORT` joins one; or name it by --address",
            ) from None
    if "://" in wanted:
        raise UsageError(
            f"{wanted} is an address of the Ray client, which cannot carry messages of trainings",
            "run nid on a machine of the cluster: --address HOST:PORT, as `ray start --head` prints it",
        )
    host, _, port = wanted.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise UsageError(f"{wanted!r} is not an address of a Ray cluster", "--address takes auto or HOST:PORT")
    return wanted


def answers(address: str, timeout: float) -> bool:
    """Whether something listens at HOST:PORT."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=timeout).close()
    except OSError:
        return False
    return True


def is_debugged() -> bool:
    """Whether what Ray says is to be seen."""
    return os.environ.get("NID_DEBUG") == "1"


def _import() -> Any:
    try:
        import ray
    except ModuleNotFoundError:
        raise NidError("--engine ray needs Ray, which is not installed", "pip install 'nid[ray]'") from None
    if not is_debugged():
        logging.getLogger("ray").setLevel(logging.CRITICAL)
        # What machines of the cluster complain of is printed even without the logs of workers; events say it here.
        from ray._private import worker

        worker._worker_logs_enabled = False
    return ray


def _enter(ray: Any, address: str) -> None:
    """Calls ``ray.init``, which would otherwise try for minutes, and takes signals back from it."""
    failures: list[Exception] = []
    entered = threading.Event()

    def enter() -> None:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("default" if is_debugged() else "ignore")
                ray.init(
                    address=address,
                    log_to_driver=is_debugged(),
                    logging_level=logging.INFO if is_debugged() else logging.CRITICAL,
                    namespace="nid",
                )
        except Exception as error:
            failures.append(error)
        entered.set()

    handlers = {number: signal.getsignal(number) for number in (*stopping.SIGNALS, signal.SIGALRM)}
    with _quiet():
        threading.Thread(target=enter, daemon=True).start()
        entered.wait(ENTER_S)
    if not entered.is_set():
        raise NidError(
            f"{address} answers, but not as a Ray cluster that this machine belongs to",
            f"`ray start --address {address}` has it belong there; the port is that of `ray start --head`",
        )
    if threading.current_thread() is threading.main_thread():
        for number, handler in handlers.items():
            signal.signal(number, handler)
    if failures:
        words = " ".join(str(failures[0]).split()) or type(failures[0]).__name__
        raise NidError(f"the Ray cluster at {address} refuses: {words}")


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps what Ray's C++ says while it connects, before it has a file to say it in, from stderr."""
    if is_debugged():
        yield
        return
    stderr, null = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 2)
    try:
        yield
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)
        os.close(null)
