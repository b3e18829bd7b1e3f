"""Which groups, models and epochs an analysis is about: the selectors of the command line, resolved."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from itertools import combinations

from sqlalchemy import Connection

from nid_cli.errors import NotFoundError, UsageError
from nid_cli.registry.groups import Group, all_groups, by_name, names
from nid_cli.registry.runs import Model, models_of
from nid_cli.specs import Kappa


@dataclass(frozen=True, kw_only=True)
class Selection:
    """Selectors: values of one are alternatives, all given ones hold.

    ``models``: ``1,2,5-8`` or None for all that are complete. ``epochs``: ``last``, ``all``, ``0,5,10``, ``0:100:5``.
    """

    arch: tuple[str, ...] = ()
    dataset: tuple[str, ...] = ()
    symmetry: tuple[str, ...] = ()
    kappa: tuple[Kappa, ...] = ()
    group: tuple[str, ...] = ()
    models: str | None = None
    epochs: str = "last"


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


def parse_numbers(text: str, what: str) -> list[int]:
    """``1,2,5-8`` as a sorted list of distinct numbers.

    Raises:
        UsageError: it cannot be read so.
    """
    numbers: set[int] = set()
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d{1,9})(?:-(\d{1,9}))?\s*", part)
        if not match or int(match[2] or match[1]) < int(match[1]):
            raise UsageError(f"{what} must read like 1,2,5-8, not {text!r}")
        first, last = int(match[1]), int(match[2] or match[1])
        if last - first > 100_000:
            raise UsageError(f"{what} names too many numbers: {part}")
        numbers.update(range(first, last + 1))
    return sorted(numbers)


def parse_epochs(text: str, available: Collection[int]) -> list[int]:
    """The epochs that ``text`` names among those ``available`` (sorted).

    ``0:100:5`` is every fifth from 0 to 100 inclusive and skips what is not there; a listed epoch must be there.

    Raises:
        UsageError: it cannot be read. NotFoundError: an epoch was named that is not there.
    """
    if text == "last":
        return [max(available)]
    if text == "all":
        return sorted(available)
    if match := re.fullmatch(r"(\d{1,9}):(\d{1,9})(?::(\d{1,9}))?", text):
        start, stop, step = int(match[1]), int(match[2]), int(match[3] or 1)
        if step < 1 or stop < start:
            raise UsageError(f"epochs must read like 0:100:5, not {text!r}")
        found = [e for e in sorted(available) if start <= e <= stop and (e - start) % step == 0]
        if not found:
            raise NotFoundError(f"no epoch in {text} has checkpoints", f"there are {_listed(available)}")
        return found
    if not re.fullmatch(r"\d{1,9}(,\d{1,9})*", text):
        raise UsageError(f"epochs must be last, all, 0,5,10 or 0:100:5, not {text!r}")
    wanted = sorted({int(part) for part in text.split(",")})
    if missing := [e for e in wanted if e not in available]:
        raise NotFoundError(
            f"epoch {missing[0]} has no checkpoint of every selected model", f"there are {_listed(available)}"
        )
    return wanted


def parse_pairs(text: str, numbers: list[int]) -> list[tuple[int, int]]:
    """Pairs of model numbers: ``all``, ``disjoint`` (1-2, 3-4, ...), or ``1-2,3-4``.

    Raises:
        UsageError: it cannot be read. NotFoundError: a named model is not selected.
    """
    if text == "all":
        return list(combinations(numbers, 2))
    if text == "disjoint":
        return list(zip(numbers[::2], numbers[1::2], strict=False))
    pairs = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d{1,9})-(\d{1,9})\s*", part)
        if not match:
            raise UsageError(f"pairs must be all, disjoint or like 1-2,3-4, not {text!r}")
        pair = int(match[1]), int(match[2])
        if missing := [number for number in pair if number not in numbers]:
            raise NotFoundError(f"there is no model {missing[0]} to pair", f"models selected: {_listed(numbers)}")
        pairs.append(pair)
    return list(dict.fromkeys(pairs))


def _listed(numbers: Collection[int]) -> str:
    ordered = sorted(numbers)
    shown = [str(n) for n in ordered] if len(ordered) <= 12 else [*map(str, ordered[:10]), "...", str(ordered[-1])]
    return ", ".join(shown) or "none"


def select_groups(connection: Connection, selection: Selection) -> list[Group]:
    """The selected groups, in the order they were made; none may match.

    Raises:
        NotFoundError: a group was named that does not exist.
    """
    for name in selection.group:
        by_name(connection, name)
    return all_groups(
        connection,
        arch=selection.arch,
        dataset=selection.dataset,
        symmetry=selection.symmetry,
        kappa=selection.kappa,
        name=selection.group,
    )


def matching_groups(connection: Connection, selection: Selection) -> list[Group]:
    """The selected groups, in the order they were made.

    Raises:
        NotFoundError: a group was named that does not exist, or nothing matches.
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
    for group in matching_groups(connection, selection):
        members = models_of(connection, group_id=group.id)
        if wanted is None:
            chosen = [m for m in members if m.status == "complete"]
        else:
            present = {m.number for m in members}
            if missing := [n for n in wanted if n not in present]:
                raise NotFoundError(f"{group.name} has no model {missing[0]}", f"it has {_listed(present)}")
            chosen = [m for m in members if m.number in wanted]
            if empty := [m.number for m in chosen if not m.checkpoints]:
                raise NotFoundError(f"model {empty[0]} of {group.name} has no checkpoint yet", "finish its training")
        if len(chosen) < least:
            continue
        common = set.intersection(*(set(m.checkpoints) for m in chosen))
        if not common:
            raise NotFoundError(f"the selected models of {group.name} have no epoch in common")
        yield Selected(group, chosen, parse_epochs(selection.epochs, common))
