"""Runs the server: a port that is free, an address to open, and an end at once."""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import os
import platform
import secrets
import socket
import sys
import threading
import webbrowser
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace

from nid_cli.errors import NidError, UsageError
from nid_cli.pipeline.context import Context
from nid_cli.registry.database import only_reading
from nid_cli.registry.opening import open_for_reading
from nid_cli.web.guard import LOOPBACK, TOKEN, Rules

HOST, PORT = "127.0.0.1", 8017
# So many ports are tried, where the first is in use.
TRIES = 100
HIGHEST = 65535
# Requests that are being answered when the server is to end have so long.
GRACE_S = 1
# Of a request's line and headers, in bytes; the guard's own bound is lower and has words.
LARGEST = 65_536


@dataclass(frozen=True, kw_only=True)
class Served:
    """Where a server listens. ``moved``: whether the port that was asked for was in use."""

    address: str
    port: int
    moved: bool


def check_installed() -> None:
    """Whether the packages of the extra are here.

    Raises:
        NidError: they are not.
    """
    from importlib.util import find_spec

    if lacking := [name for name in ("starlette", "uvicorn", "jinja2") if find_spec(name) is None]:
        raise NidError(f"nid ui needs {' and '.join(lacking)}", "pip install 'nid[ui]' installs it")


def serve(context: Context, host: str | None, port: int, *, browse: bool, told: Callable[[Served], None]) -> None:
    """Answers until it is interrupted.

    Args:
        host: where to listen beside this machine alone; then a token is asked for.
        browse: open the first page in the user's browser.
        told: called once, when requests are answered.

    Raises:
        UsageError: it cannot listen there. NotFoundError, RegistryError: there is no registry, or of another version.
        KeyboardInterrupt: the user has ended it.
    """
    check_installed()
    with only_reading():
        path = open_for_reading(context.registry).path
    import uvicorn

    from nid_cli.web.app import application
    from nid_cli.web.desk import Desk

    listening, moved = listen(host or HOST, port)
    with listening:
        own = listening.getsockname()[1]
        rules = rules_of(host, own)
        app = application(Desk(context=replace(context, registry=path), place=path), rules)
        settings = uvicorn.Config(
            app,
            http="h11",
            ws="none",
            lifespan="off",
            log_level="warning",
            access_log=False,
            server_header=False,
            proxy_headers=False,
            h11_max_incomplete_event_size=LARGEST,
            timeout_graceful_shutdown=GRACE_S,
        )
        told(Served(address=address_of(host, own, rules.token), port=own, moved=moved))
        threading.Thread(target=_warm_up, daemon=True).start()
        if browse and can_browse():
            threading.Thread(target=webbrowser.open, args=(address_of(host, own, rules.token),), daemon=True).start()
        asyncio.run(uvicorn.Server(settings).serve(sockets=[listening]))


def listen(host: str, port: int) -> tuple[socket.socket, bool]:
    """A socket that listens at the port, or at the next that is free (then True); port 0: at any.

    Raises:
        UsageError: this machine has no such address, or no port is free.
    """
    try:
        family, _, _, _, _ = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except OSError as error:
        raise UsageError(
            f"--host {host!r} is no address: {error.strerror}", "leave --host out for this machine"
        ) from None
    for candidate in range(port, min(port + TRIES, HIGHEST + 1)):
        own = socket.socket(family, socket.SOCK_STREAM)
        own.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            own.bind((host, candidate))
            own.listen(256)
        except OSError as error:
            own.close()
            if isinstance(error, PermissionError):
                raise UsageError(f"port {candidate} may not be used by you", "take one from 1024 on") from None
            if error.errno != errno.EADDRINUSE:
                raise UsageError(f"cannot listen on {host}: {error.strerror}", "ip addr lists this machine's") from None
            continue
        return own, candidate != port and port != 0
    raise UsageError(f"no port from {port} on is free", "name another --port")


def rules_of(host: str | None, port: int) -> Rules:
    """Who is answered: on this machine whoever calls it by its own names; else who has a new token."""
    cookie = f"nid_token_{port}"
    if host is None:
        return Rules(cookie=cookie)
    names = {host.lower(), platform.node().lower(), socket.getfqdn().lower()} - {""}
    return Rules(names=LOOPBACK | names | _alone(host), numbers=True, token=secrets.token_urlsafe(24), cookie=cookie)


def _alone(host: str) -> frozenset[str]:
    """An address in numbers as a browser writes it."""
    with suppress(ValueError):
        return frozenset({str(ipaddress.ip_address(host))})
    return frozenset()


def address_of(host: str | None, port: int, token: str | None) -> str:
    """What a browser opens; for all of a machine's addresses, its name."""
    shown = host or HOST
    if shown in ("0.0.0.0", "::"):
        shown = platform.node() or HOST
    if ":" in shown:
        shown = f"[{shown}]"
    return f"http://{shown}:{port}/" + (f"?{TOKEN}={token}" if token else "")


def can_browse() -> bool:
    """Whether there is a screen for a browser; one in the terminal would take the terminal."""
    return sys.platform == "darwin" or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def _warm_up() -> None:
    """What the first figure would wait for."""
    import matplotlib.backends.backend_svg
    import matplotlib.figure  # noqa: F401
