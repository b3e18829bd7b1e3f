"""Every command that writes leaves a row of what it was, on what machine, and how it ended."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from nid_cli.errors import Interrupted
from nid_cli.registry import invocations
from nid_cli.registry.database import Registry


@contextmanager
def ending(registry: Registry, invocation: int, kept: str) -> Iterator[None]:
    """Records how an invocation ends, whichever way it goes.

    Args:
        kept: what an interruption leaves, said to the user.

    Raises:
        Interrupted: in place of a KeyboardInterrupt.
    """
    status = "failed"
    try:
        yield
        status = "done"
    except (KeyboardInterrupt, Interrupted):
        status = "interrupted"
        raise Interrupted(f"stopped; {kept}", "the same command goes on from there") from None
    finally:
        with registry.write() as connection:
            invocations.finish(connection, invocation, status)
