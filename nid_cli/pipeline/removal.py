"""Removed groups that are asked for again."""

from __future__ import annotations

from nid_cli.pipeline.context import Context
from nid_cli.registry import groups
from nid_cli.registry.database import Registry


def bring_back(registry: Registry, context: Context, key: str, name: str | None) -> None:
    """Restores the group with this identity if it was removed: the same work would make the same models again.

    Args:
        name: the name it gets, else its old one.

    Raises:
        UsageError: ``name`` is taken.
    """
    with registry.read() as connection:
        group = groups.by_key(connection, key)
    if group is None or group.deleted_at is None:
        return
    with registry.write() as connection:
        restored = groups.revive(connection, group, name)
    context.say(
        f"{restored.name} was removed on {group.deleted_at[:10]} and is restored (nid db gc deletes removed groups)"
    )
