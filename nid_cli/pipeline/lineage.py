"""Every command that writes leaves a row of what it was, on what machine, and how it ended."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from nid_cli.errors import Interrupted, NidError
from nid_cli.pipeline import stopping
from nid_cli.pipeline.context import Context
from nid_cli.registry import invocations, locks
from nid_cli.registry.database import Registry
from nid_cli.registry.processes import HEARTBEAT_S


@contextmanager
def writing_files(registry: Registry, context: Context) -> Iterator[None]:
    """Keeps ``nid db gc`` away from files that have no rows yet."""
    lock = registry.file(locks.FILES)
    with locks.hold(lock, lambda holder: context.say(f"waiting: {holder} tidies the registry"), shared=True):
        yield


@contextmanager
def ending(registry: Registry, invocation: int, kept: str) -> Iterator[None]:
    """Records signs of life of an invocation, and how it ends, whichever way it goes.

    Args:
        kept: what an interruption leaves, said to the user.

    Raises:
        Interrupted: in place of a KeyboardInterrupt.
    """
    status, over = "failed", threading.Event()
    threading.Thread(target=_beat, args=(registry, invocation, over), daemon=True).start()
    try:
        yield
        status = "done"
    except BaseException as error:
        if not (isinstance(error, KeyboardInterrupt | Interrupted) or stopping.requested.is_set()):
            raise
        status = "interrupted"
        raise Interrupted(f"stopped; {kept}", "the same command goes on from there") from None
    finally:
        over.set()
        try:
            with registry.write() as connection:
                invocations.finish(connection, invocation, status)
        except NidError:
            if status == "done":
                raise  # else what went wrong before is what the user must hear


def _beat(registry: Registry, invocation: int, over: threading.Event) -> None:
    while not over.wait(HEARTBEAT_S):
        with suppress(NidError), registry.write() as connection:  # the work itself will meet what is wrong
            invocations.beat(connection, invocation)
