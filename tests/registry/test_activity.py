"""What is at work, and what was cut off, held against the rows themselves."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import replace

import pytest

from nid_cli.registry import activity, invocations
from nid_cli.registry.database import Registry
from tests.conftest import Terminal


@pytest.fixture
def registry(terminal: Terminal) -> Registry:
    """The frozen registry, with a command of this very process that has taken over the training of syre."""
    registry = Registry(terminal.database)
    with registry.write() as connection:
        begun = invocations.begin(connection, invocations.describe("train", ["nid", "train", "again"]))
    with closing(sqlite3.connect(terminal.database)) as connection, connection:
        connection.execute(
            "UPDATE models SET status = 'training', invocation_id = ? WHERE status <> 'complete'", (begun,)
        )
    return registry


def test_a_command_is_at_work_while_its_process_lives(registry: Registry) -> None:
    with registry.read() as connection:
        [own], gone = activity.commands_at_work(connection)
        assert own.argv == ("nid", "train", "again") and own.machine["host"] and gone == []
    with closing(sqlite3.connect(registry.path)) as connection, connection:
        connection.execute("UPDATE invocations SET process = process || '0' WHERE id = ?", (own.id,))
    with registry.read() as connection:
        assert activity.commands_at_work(connection) == ([], [own])


def test_trainings_are_as_far_as_their_epochs(registry: Registry) -> None:
    with closing(sqlite3.connect(registry.path)) as connection, connection:
        [(model, begun)] = connection.execute(
            "SELECT id, invocation_id FROM models WHERE status = 'training'"
        ).fetchall()
        connection.execute("DELETE FROM epochs WHERE model_id = ?", (model,))
    with registry.read() as connection:
        [none_yet] = activity.trainings(connection, [begun], ["training"])
    assert (none_yet.done, none_yet.seconds, none_yet.spent, none_yet.train_loss) == (0, None, 0.0, None)
    with closing(sqlite3.connect(registry.path)) as connection, connection:
        for epoch in range(9):
            row = (model, epoch, 1 / (1 + epoch), 10.0 * epoch, float(epoch))
            connection.execute(
                "INSERT INTO epochs (model_id, epoch, train_loss, train_accuracy, seconds) VALUES (?, ?, ?, ?, ?)", row
            )
    with registry.read() as connection:
        [own] = activity.trainings(connection, [begun], ["training"])
        assert (
            activity.trainings(connection, [begun], ["failed"])
            == activity.trainings(connection, [], ["training"])
            == []
        )
    recent = {"done": 8, "seconds": (4 + 5 + 6 + 7 + 8) / 5, "spent": 36.0, "train_loss": 1 / 9, "train_accuracy": 80.0}
    assert own == replace(none_yet, **recent)


def test_what_has_ended_is_counted_with_its_epochs(registry: Registry) -> None:
    with closing(sqlite3.connect(registry.path)) as connection:
        rows = connection.execute(
            "SELECT m.invocation_id, m.id, e.epoch, e.seconds FROM models m LEFT JOIN epochs e ON e.model_id = m.id "
            "WHERE m.status <> 'training'"
        ).fetchall()
    expected = {}
    for command in {row[0] for row in rows}:
        own = [row for row in rows if row[0] == command]
        trained = [row for row in own if row[2]]
        expected[command] = (len({row[1] for row in own}), len(trained), sum(row[3] or 0.0 for row in trained))
    with registry.read() as connection:
        found = activity.ended(connection, list(expected))
        assert activity.ended(connection, []) == {}
    assert {key: (own.models, own.epochs, pytest.approx(own.spent)) for key, own in found.items()} == expected


def test_what_was_cut_off_is_listed_until_the_same_words_have_run(registry: Registry) -> None:
    words = ["nid", "lmc", "--group", "x"]

    def run(status: str) -> None:
        with registry.write() as connection:
            invocations.finish(connection, invocations.begin(connection, invocations.describe("lmc", words)), status)

    def left() -> int:
        with registry.read() as connection:
            return sum(own.argv == tuple(words) for own in activity.cut_off(connection))

    for status, count in (("interrupted", 1), ("failed", 1), ("done", 0), ("interrupted", 1)):
        run(status)
        assert left() == count
