"""Recorded results for figures: found in the registry, or named by the commands that make them, or made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from nid_cli.errors import NotFoundError
from nid_cli.pipeline.analyses.requests import Request
from nid_cli.pipeline.analyses.run import run
from nid_cli.pipeline.context import Context
from nid_cli.registry import groups, results
from nid_cli.registry.opening import open_for_reading
from nid_cli.specs import SYMMETRIES, Kappa

Records = list[dict[str, Any]]


class MissingResults(NotFoundError):
    """Results are missing: ``commands`` make them, ``groups`` are those that lack some."""

    def __init__(self, count: int, total: int, commands: Sequence[str], groups: Sequence[str]) -> None:
        message = f"{count} of {total} results are not in the registry"
        super().__init__(message, f"run: {' && '.join(commands)} (or add --compute)")
        self.commands, self.groups = commands, groups


def recorded(context: Context, requests: Sequence[Request], *, compute: bool = False) -> list[Records]:
    """The records of each request with their matrices, the name of their analysis, and the settings of their groups.

    Args:
        compute: make what is missing instead of naming the command.

    Raises:
        MissingResults: the hint names exactly the commands that make them.
        UsageError: a selector or parameter cannot be.
    """
    wanted = [request.keys(context) for request in requests]
    registry = open_for_reading(context.registry)
    with registry.read() as connection:
        known = results.known(connection, [key.text for keys in wanted for key in keys])
    missing = [[key for key in keys if key.text not in known] for keys in wanted]
    if any(missing) and not compute:
        lacking = [request for request, keys in zip(requests, missing, strict=True) if keys]
        commands = list(dict.fromkeys(request.command(context) for request in lacking))
        names = list(dict.fromkeys(key.group.name for keys in missing for key in keys if key.group))
        raise MissingResults(sum(map(len, missing)), sum(map(len, wanted)), commands, names)
    return [
        [
            record | {"analysis": request.analysis}
            for record in with_settings(context, run(context, request, keys, matrices=True))
        ]
        for request, keys in zip(requests, wanted, strict=True)
    ]


def with_settings(context: Context, records: Records) -> Records:
    """The records with ``settings`` of their groups and ``fixed_share``, the share of all weights that is fixed.

    Those of one symmetry type stand together, by kappa: so every figure names its groups in the same order.
    """
    names = dict.fromkeys(record["group"] for record in records if "group" in record)
    with open_for_reading(context.registry).read() as connection:
        found = [groups.by_name(connection, name) for name in names]
    facts = {own.name: {"settings": own.spec.settings(), "fixed_share": own.fixed_share} for own in found}
    return sorted((record | facts.get(record.get("group", ""), {}) for record in records), key=order)


def order(record: Mapping[str, Any]) -> tuple[Any, ...]:
    """Where a record's group stands among others: by architecture, symmetry type and kappa."""
    if "symmetry" not in record:
        return ()
    return (record["arch"], list(SYMMETRIES).index(record["symmetry"]), *Kappa.of(record["kappa"]).order)
