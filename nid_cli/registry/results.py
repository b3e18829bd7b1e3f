"""Analysis results: found by what determines them, recorded with where they come from."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, select
from sqlalchemy.dialects.sqlite import insert

from nid_cli.registry.groups import Group
from nid_cli.registry.invocations import now
from nid_cli.registry.runs import Model
from nid_cli.registry.tables import figures, groups, invocations, models, results
from nid_cli.specs import canonical_json, short_kappa, stable_hash


@dataclass(frozen=True)
class Subject:
    """What one record is about: a model, or a pair, of a group at an epoch, under the analysis's parameters.

    ``version`` is raised when a definition changes, so that older numbers are not taken for current ones.
    """

    kind: str
    group: Group
    epoch: int
    models: tuple[Model, ...]
    parameters: Mapping[str, Any]
    version: int = 1

    @property
    def checkpoints(self) -> list[str]:
        """The SHA-256 of each model's checkpoint."""
        return [model.checkpoints[self.epoch].sha256 for model in self.models]

    @property
    def key(self) -> str:
        """Identity of the result: analysis and its version, parameters, checkpoints, and the group with its data set.

        The data themselves are held against the group's fingerprint whenever they are loaded.
        """
        return stable_hash(
            {
                "kind": self.kind,
                "version": self.version,
                "parameters": dict(self.parameters),
                "checkpoints": self.checkpoints,
                "group": self.group.key,
                "epoch": self.epoch,
            }
        )


def record(
    connection: Connection,
    subject: Subject,
    values: Mapping[str, Any],
    *,
    data_fingerprint: str,
    invocation_id: int,
) -> None:
    """Writes one result; computing it again replaces it."""
    row = {
        "key": subject.key,
        "result_id": subject.key[:16],
        "kind": subject.kind,
        "group_id": subject.group.id,
        "epoch": subject.epoch,
        "model_a": subject.models[0].id,
        "model_b": subject.models[1].id if len(subject.models) > 1 else None,
        "parameters": canonical_json(dict(subject.parameters)),
        "checkpoints": json.dumps(subject.checkpoints),
        "data_fingerprint": data_fingerprint,
        "record": json.dumps(dict(values)),
        "invocation_id": invocation_id,
        "created_at": now(),
    }
    connection.execute(insert(results).values(row).on_conflict_do_update(index_elements=["key"], set_=row))


def known(connection: Connection, keys: Sequence[str]) -> set[str]:
    """Which of these results are recorded already."""
    found: set[str] = set()
    for start in range(0, len(keys), 500):  # SQLite bounds the variables of one statement
        query = select(results.c.key).where(results.c.key.in_(keys[start : start + 500]))
        found.update(connection.execute(query).scalars())
    return found


_a, _b = models.alias("a"), models.alias("b")
_sides = ((_a, "a"), (_b, "b"))
_columns = [model.c[name].label(f"{name}_{x}") for model, x in _sides for name in ("number", "init_seed", "order_seed")]
_joined = (
    select(results, groups.c.name, groups.c.settings, *_columns)
    .add_columns(invocations.c.versions, invocations.c.argv, invocations.c.git_commit)
    .join(groups, groups.c.id == results.c.group_id)
    .join(_a, _a.c.id == results.c.model_a)
    .outerjoin(_b, _b.c.id == results.c.model_b)
    .join(invocations, invocations.c.id == results.c.invocation_id)
)


def records(connection: Connection, keys: Sequence[str]) -> list[dict[str, Any]]:
    """The full records of results, in the order of ``keys``; those not recorded are left out."""
    found = {}
    for start in range(0, len(keys), 500):
        query = _joined.where(results.c.key.in_(keys[start : start + 500]))
        found.update({row.key: _full(row) for row in connection.execute(query)})
    return [found[key] for key in keys if key in found]


def _full(row: Row[Any]) -> dict[str, Any]:
    settings = json.loads(row.settings)
    pair = {"model_a": row.number_a, "model_b": row.number_b} if row.number_b else {"model": row.number_a}
    sides = ("a", "b") if row.number_b else ("a",)
    return {
        "result_id": row.result_id,
        "group": row.name,
        **{name: settings[name] for name in ("arch", "dataset", "symmetry")},
        "kappa": short_kappa(settings["kappa"]),
        "epoch": row.epoch,
        **pair,
        **json.loads(row.record),
        "lineage": {
            "parameters": json.loads(row.parameters),
            "checkpoints": json.loads(row.checkpoints),
            "seeds": [
                {"init": getattr(row, f"init_seed_{x}"), "order": getattr(row, f"order_seed_{x}")} for x in sides
            ],
            "data_fingerprint": row.data_fingerprint,
            "versions": json.loads(row.versions),
            "git_commit": row.git_commit,
            "command": json.loads(row.argv),
            "created_at": row.created_at,
        },
    }


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
