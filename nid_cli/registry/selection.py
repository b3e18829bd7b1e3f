"""Which groups, models and epochs an analysis is about: the selectors of the command line, resolved."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from sqlalchemy import Connection

from nid_cli.errors import NotFoundError, unknown
from nid_cli.graphs import KNOWN
from nid_cli.registry import sweeps
from nid_cli.registry.groups import Group, all_groups, by_name, names, values_of
from nid_cli.registry.runs import Model, models_of_groups
from nid_cli.specs.selection import Selection, listed, parse_epochs, parse_numbers, parse_pairs


@dataclass(frozen=True)
class Selected:
    """One group with the chosen models and epochs (each of which every chosen model has)."""

    group: Group
    models: list[Model]
    epochs: list[int]

    def pairs(self, text: str) -> list[tuple[Model, Model]]:
        """The pairs of its models that ``text`` names; see :func:`parse_pairs`."""
        by_number = {model.number: model for model in self.models}
        return [(by_number[a], by_number[b]) for a, b in parse_pairs(text, sorted(by_number))]

    def paths(self, ends_alone: bool) -> list[tuple[Model, int, int]]:
        """Each model with each of its epochs before the last chosen one, and that one; none for a single epoch.

        Args:
            ends_alone: of the epochs only the first and the last.
        """
        *earlier, last = self.epochs
        return [(model, epoch, last) for epoch in (earlier[:1] if ends_alone else earlier) for model in self.models]


def select_groups(connection: Connection, selection: Selection) -> list[Group]:
    """The selected groups, in the order they were made; none may match.

    Raises:
        NotFoundError: a group or sweep that does not exist. UsageError: an architecture or data set that nobody knows.
    """
    check(connection, selection)
    return all_groups(connection, selection)


def check(connection: Connection, selection: Selection) -> None:
    """Refuses names that are nowhere.

    Raises:
        NotFoundError: a group or sweep that does not exist. UsageError: an architecture or data set that nobody knows.
    """
    for name in selection.group:
        by_name(connection, name)
    for name in selection.sweep:
        sweeps.named(connection, name)
    for column, what in (("arch", "architecture"), ("dataset", "data set")):
        if strange := [name for name in getattr(selection, column) if name not in KNOWN[column]]:
            here = [name for name in values_of(connection, column) if name not in KNOWN[column]]
            for name in strange:
                if name not in here:
                    raise unknown(what, name, [*KNOWN[column], *here])


def matching_groups(connection: Connection, selection: Selection) -> list[Group]:
    """The selected groups, in the order they were made.

    Raises:
        NotFoundError: a group or sweep was named that does not exist, or nothing matches.
    """
    found = select_groups(connection, selection)
    if not found:
        known = names(connection)
        hint = f"groups here: {', '.join(known[:12])}" if known else "nid train makes one"
        raise NotFoundError("no group matches", hint)
    return found


def select_models(connection: Connection, selection: Selection, least: int = 1) -> Iterator[Selected]:
    """The selected models and epochs, group by group; groups with fewer than ``least`` chosen models are left out.

    Raises:
        NotFoundError: a model or epoch was named that is not there.
    """
    wanted = parse_numbers(selection.models, "models") if selection.models else None
    groups = matching_groups(connection, selection)
    by_group = models_of_groups(connection, [group.id for group in groups])
    for group in groups:
        members = by_group[group.id]
        if wanted is None:
            chosen = [m for m in members if m.status == "complete"]
        else:
            present = {m.number for m in members}
            if missing := [n for n in wanted if n not in present]:
                raise NotFoundError(f"{group.name} has no model {missing[0]}", f"it has {listed(present)}")
            chosen = [m for m in members if m.number in wanted]
            if empty := [m.number for m in chosen if not m.checkpoints]:
                raise NotFoundError(f"model {empty[0]} of {group.name} has no checkpoint yet", "finish its training")
        if len(chosen) < least:
            continue
        common = set.intersection(*(set(m.checkpoints) for m in chosen))
        if not common:
            raise NotFoundError(f"the selected models of {group.name} have no epoch in common")
        yield Selected(group, chosen, parse_epochs(selection.epochs, common))
