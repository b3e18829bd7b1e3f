"""Analysis results: found by what determines them, recorded with where they come from."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, case, func, select
from sqlalchemy.dialects.sqlite import insert

from nid_cli.registry.groups import Group, matching
from nid_cli.registry.invocations import now
from nid_cli.registry.runs import Model
from nid_cli.registry.sweeps import said_of
from nid_cli.registry.tables import figures, groups, invocations, models, result_models, results, sweeps
from nid_cli.specs import Selection, canonical_json, stable_hash

# Where a record's matrices lie: (path, SHA-256), until the pipeline has put them in their place.
ARTIFACT = "artifact"


@dataclass(frozen=True)
class ResultKey:
    """What determines one result: an analysis of one or more models of a group at an epoch, under its parameters.

    Experiments of their own (synthetic ones) have no group, epoch or models. ``epoch_a``: the first model's epoch,
    where it is another than the others'. ``also``: further epochs of its models whose checkpoints it is made of.
    ``many``: whether it is about any number of models, which its record lists.
    """

    analysis: str
    group: Group | None
    epoch: int | None
    models: tuple[Model, ...]
    parameters: Mapping[str, Any]
    version: int = 1
    epoch_a: int | None = None
    also: tuple[int, ...] = ()
    many: bool = False

    @property
    def of_group(self) -> tuple[Group, int]:
        """(group, epoch) of a key that has them."""
        assert self.group is not None and self.epoch is not None
        return self.group, self.epoch

    @property
    def sides(self) -> list[tuple[Model, int]]:
        """Each model with its epoch."""
        own = [self.epoch if self.epoch_a is None else self.epoch_a, *(self.epoch for _ in self.models[1:])]
        return [(model, epoch) for model, epoch in zip(self.models, own, strict=False) if epoch is not None]

    @property
    def reads(self) -> list[tuple[Model, int]]:
        """Every checkpoint that it is made of: those of its sides, then those of further epochs."""
        return self.sides + [(model, epoch) for epoch in self.also for model in self.models]

    @property
    def checkpoints(self) -> list[str]:
        """The SHA-256 of each checkpoint that it is made of, each model's own first."""
        return [model.checkpoints[epoch].sha256 for model, epoch in self.reads]

    @cached_property
    def text(self) -> str:
        """Identity of the result: analysis and its version, parameters, checkpoints, and the group with its data set.

        The data themselves are held against the group's fingerprint whenever they are loaded.
        """
        return stable_hash(
            {
                "kind": self.analysis,
                "version": self.version,
                "parameters": dict(self.parameters),
                "checkpoints": self.checkpoints,
                "group": self.group.key if self.group else None,
                "epoch": self.epoch,
            }
            | ({} if self.epoch_a is None else {"epoch_a": self.epoch_a})
            | ({"also": self.also} if self.also else {})
        )


def record(
    connection: Connection,
    key: ResultKey,
    values: Mapping[str, Any],
    *,
    data_fingerprint: str | None,
    invocation_id: int,
    artifact: tuple[str, str] | None = None,
) -> None:
    """Writes one result; computing it again replaces it.

    Args:
        artifact: path and SHA-256 of the file that holds its matrices, safe on disk already.
    """
    one, other = (None, None) if key.many else (*(model.id for model in key.models), None, None)[:2]
    row = {
        "key": key.text,
        "result_id": key.text[:16],
        "kind": key.analysis,
        "group_id": key.group.id if key.group else None,
        "epoch": key.epoch,
        "model_a": one,
        "model_b": other,
        "parameters": canonical_json(dict(key.parameters)),
        "checkpoints": json.dumps(key.checkpoints),
        "data_fingerprint": data_fingerprint,
        "record": json.dumps(dict(values)),
        "artifact_path": artifact[0] if artifact else None,
        "artifact_sha256": artifact[1] if artifact else None,
        "invocation_id": invocation_id,
        "created_at": now(),
    }
    connection.execute(insert(results).values(row).on_conflict_do_update(index_elements=["key"], set_=row))
    if key.many:
        own = connection.execute(select(results.c.id).where(results.c.key == key.text)).scalar_one()
        connection.execute(result_models.delete().where(result_models.c.result_id == own))
        links = [{"result_id": own, "place": at, "model_id": model.id} for at, model in enumerate(key.models)]
        connection.execute(result_models.insert(), links)


def known(connection: Connection, keys: Sequence[str]) -> set[str]:
    """Which of these results are recorded already."""
    found: set[str] = set()
    for start in range(0, len(keys), 500):  # SQLite bounds the variables of one statement
        query = select(results.c.key).where(results.c.key.in_(keys[start : start + 500]))
        found.update(connection.execute(query).scalars())
    return found


def sides() -> tuple[Any, Any]:
    """The table of models twice: for the first and the second model of a result."""
    return models.alias("a"), models.alias("b")


def members(*names: str) -> Any:
    """As a column: what the models of a result about many are (``names`` of their columns), as a JSON list in order;
    null of other results."""
    values = [models.c[name] for name in names]
    value = values[0] if len(values) == 1 else func.json_array(*values)
    listed = (
        select(value.label("value"))
        .select_from(result_models.join(models, models.c.id == result_models.c.model_id))
        .where(result_models.c.result_id == results.c.id)
        .order_by(result_models.c.place)
        .correlate(results)
        .subquery()
    )
    kind = listed.c.value if len(values) == 1 else func.json(listed.c.value)
    found = select(func.json_group_array(kind)).scalar_subquery()
    return case((results.c.model_a.is_(None), func.nullif(found, "[]")))


def about(selection: Selection | None) -> ColumnElement[bool]:
    """Results about the groups of a selection; None: those that are about no group."""
    if selection is None:
        return results.c.group_id.is_(None)
    return results.c.group_id.in_(matching(select(groups.c.id), selection).order_by(None))


_a, _b = sides()
_sides = ((_a, "a"), (_b, "b"))
_columns = [model.c[name].label(f"{name}_{x}") for model, x in _sides for name in ("number", "init_seed", "order_seed")]
_joined = (
    select(results, groups.c.name, groups.c.arch, groups.c.dataset, groups.c.symmetry, groups.c.kappa, *_columns)
    .add_columns(members("number", "init_seed", "order_seed").label("members"))
    .add_columns(invocations.c.versions, invocations.c.argv, invocations.c.git_commit)
    .add_columns(sweeps.c.name.label("sweep"), sweeps.c.hash.label("sweep_hash"))
    .outerjoin(groups, groups.c.id == results.c.group_id)
    .outerjoin(_a, _a.c.id == results.c.model_a)
    .outerjoin(_b, _b.c.id == results.c.model_b)
    .join(invocations, invocations.c.id == results.c.invocation_id)
    .outerjoin(sweeps, sweeps.c.id == invocations.c.sweep_id)
)


# Gives a record of an older program what it lacks.
Complete = Callable[[dict[str, Any]], dict[str, Any]]


def _as_recorded(values: dict[str, Any]) -> dict[str, Any]:
    return values


def records(connection: Connection, keys: Sequence[str], complete: Complete = _as_recorded) -> list[dict[str, Any]]:
    """The full records of results, in the order of ``keys``; those not recorded are left out."""
    found = {}
    for start in range(0, len(keys), 500):
        query = _joined.where(results.c.key.in_(keys[start : start + 500]))
        found.update({row.key: _full(row, complete) for row in connection.execute(query)})
    return [found[key] for key in keys if key in found]


def of_kind(
    connection: Connection, kind: str, selection: Selection | None, complete: Complete = _as_recorded
) -> list[dict[str, Any]]:
    """All recorded results of one analysis, oldest first; about which groups, see :func:`about`."""
    query = _joined.where(results.c.kind == kind, about(selection)).order_by(results.c.id)
    return [_full(row, complete) for row in connection.execute(query)]


def by_result_id(connection: Connection, result_id: str) -> tuple[str, dict[str, Any]] | None:
    """(analysis, record as it was recorded) of a result by its id; None where there is none."""
    row = connection.execute(_joined.where(results.c.result_id == result_id)).one_or_none()
    return (row.kind, _full(row, _as_recorded)) if row is not None else None


def counts(connection: Connection, group: Group) -> dict[str, int]:
    """How many results of each analysis there are about a group."""
    query = select(results.c.kind, func.count()).where(results.c.group_id == group.id)
    return {row[0]: row[1] for row in connection.execute(query.group_by(results.c.kind).order_by(results.c.kind))}


def latest(
    connection: Connection, kind: str, group: Group, size: int, complete: Complete = _as_recorded
) -> list[dict[str, Any]]:
    """The last results of one analysis about a group, ``size`` at most, oldest first."""
    query = _joined.where(results.c.kind == kind, results.c.group_id == group.id).order_by(results.c.id.desc())
    return [_full(row, complete) for row in connection.execute(query.limit(size))][::-1]


def last_parameters(connection: Connection, kind: str, selection: Selection) -> dict[str, Any] | None:
    """The parameters of the last result of one analysis about the selected groups; None where there is none."""
    query = select(results.c.parameters).where(results.c.kind == kind, about(selection))
    found = connection.execute(query.order_by(results.c.id.desc()).limit(1)).scalar()
    return json.loads(found) if found is not None else None


def _full(row: Row[Any], complete: Complete) -> dict[str, Any]:
    about, seeds = _about(row)
    return {
        "result_id": row.result_id,
        **(_identity(row) if row.name else {}),
        **({"epoch": row.epoch} if about else {}),
        **about,
        **complete(json.loads(row.record)),
        **({ARTIFACT: (row.artifact_path, row.artifact_sha256)} if row.artifact_path else {}),
        "lineage": {
            "parameters": json.loads(row.parameters),
            "checkpoints": json.loads(row.checkpoints),
            "seeds": seeds,
            "data_fingerprint": row.data_fingerprint,
            "versions": json.loads(row.versions),
            "git_commit": row.git_commit,
            "command": json.loads(row.argv),
            "created_at": row.created_at,
            "sweep": said_of(row),
        },
    }


def _about(row: Row[Any]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The numbers of a result's models as its record says them, and their seeds."""
    if row.members is not None:
        listed = json.loads(row.members)
        return {"models": [own[0] for own in listed]}, [{"init": init, "order": order} for _, init, order in listed]
    sides = [x for x in ("a", "b") if getattr(row, f"number_{x}") is not None]
    names = {1: ["model"], 2: ["model_a", "model_b"]}.get(len(sides), [])
    seeds = [{"init": getattr(row, f"init_seed_{x}"), "order": getattr(row, f"order_seed_{x}")} for x in sides]
    return {name: getattr(row, f"number_{x}") for name, x in zip(names, sides, strict=True)}, seeds


def _identity(row: Row[Any]) -> dict[str, Any]:
    own = {name: getattr(row, name) for name in ("arch", "dataset", "symmetry")}
    return {"group": row.name, **own, "kappa": json.loads(row.kappa)}


def record_figure(
    connection: Connection, figure: str, path: str, sha256: str, result_ids: Sequence[str], invocation_id: int
) -> None:
    """What was drawn, from which results, by which command."""
    connection.execute(
        figures.insert().values(
            figure=figure,
            path=path,
            sha256=sha256,
            result_ids=json.dumps(list(result_ids)),
            invocation_id=invocation_id,
            created_at=now(),
        )
    )


def figure_of_sweep(connection: Connection, figure: str, path: str, sweep_id: int) -> str | None:
    """The SHA-256 of the figure that a sweep drew into ``path`` last; None where another command has worked since."""
    query = (
        select(figures.c.sha256, figures.c.created_at)
        .join(invocations, invocations.c.id == figures.c.invocation_id)
        .where(figures.c.figure == figure, figures.c.path == path, invocations.c.sweep_id == sweep_id)
        .order_by(figures.c.id.desc())
        .limit(1)
    )
    if (row := connection.execute(query).one_or_none()) is None:
        return None
    later = select(invocations.c.id).where(
        invocations.c.started_at > row.created_at, invocations.c.command.not_like("plot %")
    )
    return None if connection.execute(later.limit(1)).first() else str(row.sha256)


def drawn_by(connection: Connection, path: str) -> str | None:
    """The name of the sweep that drew into ``path`` last; None where none did, or a command of its own."""
    query = (
        select(sweeps.c.name)
        .select_from(figures)
        .join(invocations, invocations.c.id == figures.c.invocation_id)
        .outerjoin(sweeps, sweeps.c.id == invocations.c.sweep_id)
        .where(figures.c.path == path)
        .order_by(figures.c.id.desc())
        .limit(1)
    )
    name: str | None = connection.execute(query).scalar()
    return name
