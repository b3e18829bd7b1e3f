"""Lists of groups by aggregated queries, against loops over all models and checkpoints."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nid_cli.registry import listing
from nid_cli.registry.database import Registry
from nid_cli.registry.tables import MODEL_STATES
from nid_cli.specs import Selection
from tests.conftest import Terminal

MODELS = "SELECT * FROM models WHERE group_id = ?"
# A command on another machine that has been silent for years.
DEAD = """
    UPDATE invocations SET status = 'running', ended_at = NULL, process = 'elsewhere 0 0',
        heartbeat_at = '2020-01-01T00:00:00.000+00:00' WHERE id = ?
"""


def slow(terminal: Terminal) -> dict[str, dict[str, Any]]:
    """What a list says of each group, by name, in the order they were made; no training is alive."""
    found = {}
    with closing(sqlite3.connect(terminal.database)) as connection:
        connection.row_factory = sqlite3.Row
        for group in connection.execute("SELECT * FROM groups WHERE deleted_at IS NULL ORDER BY created_at, id"):
            status: dict[str, int] = {}
            epochs: set[int] | None = None
            for model in connection.execute(MODELS, (group["id"],)):
                state = {"training": "interrupted"}.get(model["status"], model["status"])
                status[state] = status.get(state, 0) + 1
                if state == "complete":
                    rows = connection.execute("SELECT epoch FROM checkpoints WHERE model_id = ?", (model["id"],))
                    own = {row["epoch"] for row in rows}
                    epochs = own if epochs is None else epochs & own
            found[group["name"]] = {
                "models": sum(status.values()),
                "complete": status.get("complete", 0),
                "status": status,
                "epochs": sorted(epochs or ()),
                "kappa": json.loads(group["kappa"]),
                "symmetry": group["symmetry"],
                "fixed_hash": group["fixed_hash"],
                "note": group["note"],
            }
    return found


def fast(terminal: Terminal, selection: Selection | None = None) -> dict[str, dict[str, Any]]:
    """The same from the queries."""
    with Registry(terminal.database).read() as connection:
        rows = list(listing.summaries(connection, selection or Selection()))
    kept = next(iter(slow(terminal).values())).keys()
    return {row["name"]: {name: row[name] for name in kept} for row in rows}


@pytest.mark.parametrize("few", [500, 1, 0], ids=["named", "too many to name", "never named"])
def test_a_list_says_what_loops_say(few: int, terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "FEW", few)
    expected = slow(terminal)
    assert fast(terminal) == expected and list(fast(terminal)) == list(expected) and len(expected) == 3
    standard = {name: own for name, own in expected.items() if own["symmetry"] == "standard"}
    assert fast(terminal, Selection(symmetry=("standard",))) == standard != {}
    assert fast(terminal, Selection(symmetry=("sigma",))) == {}


def test_the_interrupted_group_has_no_epochs_in_common_but_is_there(terminal: Terminal) -> None:
    own = fast(terminal)["mlp-digits-syre-k1"]
    assert own["complete"] == 0 and own["epochs"] == [] and own["status"] == {"interrupted": own["models"]}


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_whatever_states_and_checkpoints_models_have(terminal: Terminal, data: st.DataObject) -> None:
    """Models in every state, some of a training that is gone; checkpoints at epochs of their own."""
    with closing(sqlite3.connect(terminal.database)) as connection:
        models = connection.execute("SELECT id, invocation_id FROM models").fetchall()
        connection.execute("DELETE FROM checkpoints")
        for model, invocation in models:
            state = data.draw(st.sampled_from(MODEL_STATES))
            connection.execute("UPDATE models SET status = ? WHERE id = ?", (state, model))
            if state == "training":
                connection.execute(DEAD, (invocation,))
            for epoch in data.draw(st.sets(st.integers(0, 4))):
                row = (model, epoch, f"{model}-{epoch}", "00", 1, "2020")
                columns = "model_id, epoch, path, sha256, bytes, created_at"
                connection.execute(f"INSERT INTO checkpoints ({columns}) VALUES (?, ?, ?, ?, ?, ?)", row)
        connection.commit()
    assert fast(terminal) == slow(terminal)


def test_removed_groups_are_not_listed(terminal: Terminal) -> None:
    assert terminal("group", "rm", "baseline", "--yes") == 0, terminal.errors
    assert fast(terminal) == slow(terminal) and "baseline" not in fast(terminal)
