"""Groups: models that may be interpolated and compared, under a readable name."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass, fields
from functools import cached_property
from itertools import groupby
from typing import Any

from sqlalchemy import Connection, Row, Select, func, select

from nid_cli.errors import IntegrityError, NotFoundError, UsageError, unknown
from nid_cli.graphs import architecture_of, fixed_share, graph_of
from nid_cli.nets import Graph
from nid_cli.registry.invocations import now
from nid_cli.registry.sweeps import group_ids
from nid_cli.registry.tables import architectures, groups, inserted_id, models, results
from nid_cli.specs import Kappa, RunSpec, Selection, canonical_json, stable_hash

_EVERYTHING = select(groups, architectures.c.specification.label("architecture")).join(
    architectures, architectures.c.id == groups.c.architecture_id
)
NAME = re.compile(r"\w[\w.,+=@-]{0,99}")
# After the name of a removed group comes this and its id: no name that check_name admits, so that the name is free.
REMOVED = "~"


@dataclass(frozen=True)
class FixedFile:
    """The fixed tensors of a group on disk: hash of their contents, path in the registry, SHA-256 of the file."""

    hash: str
    path: str
    sha256: str


@dataclass(frozen=True)
class Group:
    """One group as the registry knows it.

    ``architecture``: what the registry has of its network: the description's text, where it was taken in.
    ``deleted_at``: when it was removed; such a group is found by its id or key alone.
    """

    id: int
    name: str
    key: str
    arch: str
    dataset: str
    symmetry: str
    kappa: Kappa
    settings: str
    architecture: str
    fixed_hash: str | None
    fixed_path: str | None
    fixed_sha256: str | None
    data_fingerprint: str | None
    note: str
    created_at: str
    deleted_at: str | None

    @cached_property
    def spec(self) -> RunSpec:
        """The specification that its members share; without a seed.

        Raises:
            IntegrityError: what is recorded is none.
        """
        try:
            return RunSpec.from_dict(json.loads(self.settings) | {"seed": None})
        except (TypeError, ValueError, UsageError) as error:
            raise IntegrityError(f"the settings of the group {self.name} are not those of a run: {error}") from None

    @cached_property
    def graph(self) -> Graph:
        """The network of its members."""
        return graph_of(self.spec, self.architecture)

    @property
    def fixed_share(self) -> float | None:
        """The share of its weights that is fixed; None where its symmetry type fixes none."""
        return fixed_share(self.spec, self.architecture)

    @property
    def identity(self) -> dict[str, Any]:
        """What every record says of its group."""
        return {
            "group": self.name,
            "arch": self.arch,
            "dataset": self.dataset,
            "symmetry": self.symmetry,
            "kappa": self.kappa.json,
        }


def _group(row: Row[Any]) -> Group:
    own = {field.name: getattr(row, field.name) for field in fields(Group) if field.name != "kappa"}
    return Group(**own, kappa=Kappa.of(json.loads(row.kappa)))


def group_key(spec: RunSpec, fixed_hash: str | None) -> str:
    """Identity of a group: equal settings and fixed tensors join; seeds are not in it."""
    return stable_hash({"settings": spec.shared(), "fixed": fixed_hash})


def check_name(name: str, whose: str = "a group's") -> str:
    """The name itself.

    Raises:
        UsageError: it cannot be a name.
    """
    if not NAME.fullmatch(name):
        raise UsageError(
            f"{name!r} cannot be {whose} name", "use letters, digits and . , + = @ _ -, at most 100, no space"
        )
    return name


def free_name(connection: Connection, base: str) -> str:
    """``base``, or ``base-2``, ``base-3`` ... where it is taken."""
    taken = set(connection.execute(select(groups.c.name)).scalars())
    candidates = [base, *(f"{base}-{i}" for i in range(2, len(taken) + 3))]
    return next(name for name in candidates if name not in taken)


def next_number(connection: Connection, group_id: int) -> int:
    """The number that the next model of a group gets; they start at 1."""
    last = select(func.coalesce(func.max(models.c.number), 0)).where(models.c.group_id == group_id)
    return int(connection.execute(last).scalar_one()) + 1


def generated_name(spec: RunSpec) -> str:
    """What a new group is called where nobody names it, and the name is free."""
    runs = [(f"{k:g}", len(list(same))) for k, same in groupby(spec.kappa.numbers)]
    suffix = "-k" + "_".join(f"{k}x{n}" if n > 2 else "_".join([k] * n) for k, n in runs) if runs else ""
    suffix += f"-spawn{spec.spawn_epoch}" if spec.spawn_epoch is not None else ""
    return f"{spec.network.arch}-{spec.data.name}-{spec.symmetry.name}{suffix}"


def find_or_create(
    connection: Connection,
    *,
    spec: RunSpec,
    fixed: FixedFile | None,
    data_fingerprint: str | None,
    name: str | None,
    description: str | None = None,
) -> Group:
    """The group with these settings and fixed tensors, made where there is none, brought back where it was removed.

    Args:
        fixed: None for standard networks.
        name: for a new group; an existing one must already have it.
        description: of a network that was taken in, its text.

    Raises:
        UsageError: the name is taken, or the group has another.
    """
    key = group_key(spec, fixed.hash if fixed else None)
    row = connection.execute(_EVERYTHING.where(groups.c.key == key)).one_or_none()
    if row is not None and row.deleted_at is not None:
        return revive(connection, _group(row), name)
    if row is not None:
        if name is not None and row.name != name:
            raise UsageError(
                f"these settings already have a group, {row.name}", f"nid group rename {row.name} {name} renames it"
            )
        return _group(row)
    if name is not None and connection.execute(select(groups.c.id).where(groups.c.name == name)).one_or_none():
        raise UsageError(f"the name {name} is taken by a group with other settings", "choose another --name")
    connection.execute(
        groups.insert().values(
            key=key,
            name=name or free_name(connection, generated_name(spec)),
            architecture_id=_architecture(connection, spec, description),
            arch=spec.network.arch,
            dataset=spec.data.name,
            symmetry=spec.symmetry.name,
            kappa=spec.kappa.column,
            settings=canonical_json(spec.shared()),
            fixed_hash=fixed.hash if fixed else None,
            fixed_path=fixed.path if fixed else None,
            fixed_sha256=fixed.sha256 if fixed else None,
            data_fingerprint=data_fingerprint,
            created_at=now(),
        )
    )
    return _group(connection.execute(_EVERYTHING.where(groups.c.key == key)).one())


def _architecture(connection: Connection, spec: RunSpec, description: str | None) -> int:
    """The id of the row of a network's architecture, made where there is none."""
    text = canonical_json(architecture_of(spec)) if spec.network.graph is None else description
    graph = graph_of(spec, text)  # it is held against its hash before it is written
    assert text is not None
    digest = hashlib.sha256(text.encode()).hexdigest()
    query = select(architectures.c.id, architectures.c.specification).where(architectures.c.hash == digest)
    if (found := connection.execute(query).one_or_none()) is not None:
        if found.specification != text:
            raise IntegrityError(f"the registry has another architecture under the SHA-256 of {spec.network.arch}")
        return int(found.id)
    return inserted_id(
        connection.execute(
            architectures.insert().values(
                hash=digest, name=spec.network.arch, specification=text, parameter_count=graph.parameter_count
            )
        )
    )


def names(connection: Connection) -> list[str]:
    """All names, sorted, without those of removed groups."""
    query = select(groups.c.name).where(groups.c.deleted_at.is_(None)).order_by(groups.c.name)
    return list(connection.execute(query).scalars())


def values_of(connection: Connection, column: str) -> list[str]:
    """The architectures, data sets ... that there are groups of, sorted."""
    query = select(groups.c[column]).where(groups.c.deleted_at.is_(None)).distinct().order_by(groups.c[column])
    return list(connection.execute(query).scalars())


def in_a_sentence(known: list[str]) -> str:
    """Names as a sentence gives them: a dozen at most."""
    return ", ".join([*known[:12], *(["..."] if len(known) > 12 else [])]) or "none"


def by_name(connection: Connection, name: str) -> Group:
    """The group called ``name``.

    Raises:
        NotFoundError: there is none; the hint names the nearest, or all.
    """
    query = _EVERYTHING.where(groups.c.name == name, groups.c.deleted_at.is_(None))
    row = connection.execute(query).one_or_none()
    if row is not None:
        return _group(row)
    if gone := [group for group in removed(connection) if original_name(group) == name]:
        raise NotFoundError(f"the group {name!r} was removed on {gone[-1].deleted_at}", f"nid group restore {name}")
    known = names(connection)
    problem = unknown("group", name, known)
    raise NotFoundError(f"there is no group {name!r}", problem.hint or f"groups here: {in_a_sentence(known)}")


def alike(connection: Connection, spec: RunSpec) -> list[str]:
    """Names of the groups with these settings, whatever their fixed tensors."""
    query = select(groups.c.name).where(groups.c.settings == canonical_json(spec.shared()))
    query = query.where(groups.c.deleted_at.is_(None)).order_by(groups.c.id)
    return list(connection.execute(query).scalars())


def by_id(connection: Connection, group_id: int) -> Group:
    """The group with this id."""
    return _group(connection.execute(_EVERYTHING.where(groups.c.id == group_id)).one())


def matching(query: Select[Any], selection: Selection) -> Select[Any]:
    """The query of ``groups`` restricted to those that match, in the order they were made.

    Values of one selector are alternatives, selectors all hold; none given matches all.
    """
    query = query.where(groups.c.deleted_at.is_(None)).order_by(groups.c.created_at, groups.c.id)
    wanted = {"arch": selection.arch, "dataset": selection.dataset, "symmetry": selection.symmetry}
    wanted |= {"name": selection.group, "kappa": tuple(kappa.column for kappa in selection.kappa)}
    for column, values in wanted.items():
        if values:
            query = query.where(groups.c[column].in_(values))
    if selection.sweep:
        query = query.where(groups.c.id.in_(group_ids(selection.sweep)))
    return query


def all_groups(connection: Connection, selection: Selection | None = None) -> list[Group]:
    """Groups that match, in the order they were made."""
    return [_group(row) for row in connection.execute(matching(_EVERYTHING, selection or Selection()))]


def rename(connection: Connection, old: str, new: str) -> None:
    """Gives a group another name.

    Raises:
        NotFoundError, UsageError: no such group; the new name is taken or no name.
    """
    check_name(new)
    group = by_name(connection, old)
    if new != old and new in names(connection):
        raise UsageError(f"the name {new} is taken", "choose another")
    connection.execute(groups.update().where(groups.c.id == group.id).values(name=new))


def set_note(connection: Connection, name: str, note: str) -> None:
    """Writes a group's note (an empty one clears it)."""
    group = by_name(connection, name)
    connection.execute(groups.update().where(groups.c.id == group.id).values(note=note))


def count_results(connection: Connection, group: Group) -> int:
    """How many results a group has."""
    query = select(func.count()).select_from(results).where(results.c.group_id == group.id)
    return int(connection.execute(query).scalar_one())


def remove(connection: Connection, group: Group) -> None:
    """Takes a group out of sight, with everything that hangs on it; :func:`revive` brings it back."""
    hidden = {"name": f"{group.name}{REMOVED}{group.id}", "deleted_at": now()}
    connection.execute(groups.update().where(groups.c.id == group.id).values(hidden))


def removed(connection: Connection) -> list[Group]:
    """The removed groups, in the order of their removal."""
    query = _EVERYTHING.where(groups.c.deleted_at.is_not(None)).order_by(groups.c.deleted_at, groups.c.id)
    return [_group(row) for row in connection.execute(query)]


def original_name(group: Group) -> str:
    """The name that a group had before it was removed."""
    return group.name.rpartition(REMOVED)[0] if group.deleted_at else group.name


def by_key(connection: Connection, key: str) -> Group | None:
    """The group with this identity, removed or not."""
    row = connection.execute(_EVERYTHING.where(groups.c.key == key)).one_or_none()
    return _group(row) if row is not None else None


def revive(connection: Connection, group: Group, name: str | None = None) -> Group:
    """Brings a removed group back, under ``name`` or the one it had (with a suffix where that is taken by now).

    Raises:
        UsageError: ``name`` is taken.
    """
    if name is not None and name in names(connection):
        raise UsageError(f"the name {name} is taken by another group", "choose another --name")
    visible = {"name": name or free_name(connection, original_name(group)), "deleted_at": None}
    connection.execute(groups.update().where(groups.c.id == group.id).values(visible))
    return by_id(connection, group.id)


def restore(connection: Connection, name: str) -> Group:
    """Brings back the group that was removed last under ``name``.

    Raises:
        NotFoundError: there is none.
    """
    gone = [group for group in removed(connection) if original_name(group) == name]
    if not gone:
        known = ", ".join(dict.fromkeys(original_name(group) for group in removed(connection)))
        raise NotFoundError(f"there is no removed group {name!r}", f"removed groups: {known or 'none'}")
    return revive(connection, gone[-1])


def delete_removed(connection: Connection) -> list[str]:
    """Deletes the removed groups for good, with runs, models, rows of checkpoints, and results; returns their names.

    Their files are the caller's.
    """
    gone = [original_name(group) for group in removed(connection)]
    connection.execute(groups.delete().where(groups.c.deleted_at.is_not(None)))
    return gone


def set_fingerprint(connection: Connection, group_id: int, fingerprint: str) -> None:
    """Records the data that a group's numbers are measured on, where nothing has yet."""
    connection.execute(
        groups.update()
        .where(groups.c.id == group_id, groups.c.data_fingerprint.is_(None))
        .values(data_fingerprint=fingerprint)
    )


def agree_on_data(connection: Connection, group: Group, fingerprint: str) -> None:
    """Holds the data in memory against those that the group's numbers are measured on.

    Raises:
        IntegrityError: they differ.
    """
    if group.data_fingerprint is None:
        set_fingerprint(connection, group.id, fingerprint)
    elif group.data_fingerprint != fingerprint:
        raise IntegrityError(
            f"the data of {group.name} are not those that it was made with (fingerprint {fingerprint[:12]}, "
            f"recorded {group.data_fingerprint[:12]})",
            "point --data-dir at the original files",
        )
