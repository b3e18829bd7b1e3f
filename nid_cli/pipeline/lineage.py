"""Every command that writes leaves a row of what it was, on what machine, and how it ended."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nid_cli import stopping
from nid_cli.errors import Interrupted, NidError
from nid_cli.pipeline.context import Context
from nid_cli.registry import invocations, locks
from nid_cli.registry.database import Registry
from nid_cli.registry.processes import HEARTBEAT_S

if TYPE_CHECKING:
    from sqlalchemy import Connection


@contextmanager
def writing_files(registry: Registry, context: Context) -> Iterator[None]:
    """Keeps ``nid db gc`` away from files that have no rows yet."""
    lock = registry.file(locks.FILES)
    with locks.hold(lock, lambda holder: context.say(f"waiting: {holder} tidies the registry"), shared=True):
        yield


@dataclass
class CommandAtWork:
    """A command at work; ``id`` is that of its row, from :meth:`begin` on."""

    id: int | None = None

    def begin(self, connection: Connection, origin: Mapping[str, Any]) -> int:
        """Records what :func:`nid_cli.registry.invocations.describe` described; returns the row's id."""
        self.id = invocations.begin(connection, origin)
        return self.id


@contextmanager
def recording(registry: Registry, kept: str) -> Iterator[CommandAtWork]:
    """Records a command's signs of life, once it has begun, and how it ends, whichever way it goes.

    Args:
        kept: what an interruption leaves, said to the user.

    Raises:
        Interrupted: in place of a KeyboardInterrupt.
    """
    call, status, over = CommandAtWork(), "failed", threading.Event()
    try:
        threading.Thread(target=_beat, args=(registry, call, over), daemon=True).start()
        yield call
        status = "done"
    except BaseException as error:
        if not (isinstance(error, KeyboardInterrupt | Interrupted) or stopping.was_requested()):
            raise
        status = "interrupted"
        raise Interrupted(f"stopped; {kept}", stopping.HINT) from None
    finally:
        over.set()
        try:
            if call.id is not None:
                with registry.write() as connection:
                    invocations.finish(connection, call.id, status)
        except NidError:
            if status == "done":
                raise  # else the first error is the one to report


def _beat(registry: Registry, call: CommandAtWork, over: threading.Event) -> None:
    while not over.wait(HEARTBEAT_S):
        # An error here will show in the work itself.
        with suppress(NidError), registry.write() as connection:
            if call.id is not None:
                invocations.beat(connection, call.id)
