"""A registry for one command alone, as tidying and restoring need it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from nid_cli.errors import RegistryError
from nid_cli.registry import invocations, locks
from nid_cli.registry.database import Registry


@contextmanager
def alone(registry: Registry) -> Iterator[None]:
    """The registry while no other command works on its files.

    Raises:
        RegistryError: others do.
    """
    with locks.hold_now(registry.file(locks.FILES)) as free:
        with registry.read() as connection:
            others = [call for call in invocations.running(connection) if call.is_alive]
        # The lock reaches this machine's processes; heartbeats reach the others'.
        if not free or any(not call.is_here for call in others):
            busy = ", ".join(map(str, others)) or "another command"
            raise RegistryError(f"{busy} works on the registry {registry.path}", "try again when it is done")
        yield
