"""Sweeps in the registry: one row a text, links to groups, selection by name, and what lineages say of them."""

from __future__ import annotations

import hashlib
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nid_cli.errors import NotFoundError
from nid_cli.registry import groups, invocations, runs, sweeps
from nid_cli.registry.database import Registry
from nid_cli.registry.selection import check, matching_groups
from nid_cli.registry.tables import results, sweep_groups
from nid_cli.specs import Selection
from tests.conftest import Terminal

NAMES = ["baseline", "mlp-digits-standard", "mlp-digits-syre-k1"]


@pytest.fixture
def registry(terminal: Terminal) -> Registry:
    """The groups of ``NAMES``, and no sweep yet."""
    return Registry(terminal.database)


def make(registry: Registry, name: str, text: str, *members: str) -> sweeps.Sweep:
    """A sweep that was run just now, with groups."""
    with registry.write() as connection:
        sweep = sweeps.find_or_create(connection, name, text)
        sweeps.touch(connection, sweep.id)
        for member in members:
            sweeps.add_group(connection, sweep.id, groups.by_name(connection, member).id)
    return sweep


def set_time(registry: Registry, sweep: sweeps.Sweep, moment: str) -> None:
    with closing(sqlite3.connect(registry.path)) as connection, connection:
        connection.execute("UPDATE sweeps SET last_run_at = ? WHERE id = ?", (moment, sweep.id))


def test_a_text_is_one_row_and_another_text_of_the_name_is_told(registry: Registry) -> None:
    first = make(registry, "s", "seeds = 1")
    assert first.hash == hashlib.sha256(b"seeds = 1").hexdigest() and first.replaces is None
    set_time(registry, first, "2020")
    assert make(registry, "s", "seeds = 1").id == first.id
    set_time(registry, first, "2020")
    second = make(registry, "s", "seeds = 2")
    assert second.id != first.id and second.replaces == first.hash
    set_time(registry, second, "2021")
    assert make(registry, "s", "seeds = 2").replaces is None
    set_time(registry, second, "2021")
    assert make(registry, "s", "seeds = 1").replaces == second.hash  # the first text again
    assert make(registry, "other", "seeds = 1").replaces is None
    with registry.read() as connection:
        assert sorted(sweep.name for sweep in sweeps.listing(connection)) == ["other", "s", "s"]


def test_running_a_sweep_makes_it_the_newest_of_its_name(registry: Registry) -> None:
    old, new = make(registry, "s", "a"), make(registry, "s", "b")
    for sweep, moment in ((old, "2020"), (new, "2021")):
        set_time(registry, sweep, moment)
    with registry.write() as connection:
        assert sweeps.named(connection, "s").text == "b"
        sweeps.touch(connection, old.id)
        assert sweeps.named(connection, "s").text == "a" and sweeps.listing(connection)[0].id == old.id


def test_a_sweep_counts_its_groups_and_goes_on_without_them(registry: Registry) -> None:
    made = make(registry, "s", "a", *NAMES[:2])
    make(registry, "s", "a", NAMES[0])  # a second time
    with registry.write() as connection:
        assert sweeps.named(connection, "s").groups == 2
        groups.remove(connection, groups.by_name(connection, NAMES[0]))
        assert sweeps.named(connection, "s").groups == 1
        assert [g.name for g in matching_groups(connection, Selection(sweep=("s",)))] == [NAMES[1]]
        groups.delete_removed(connection)
        links = connection.execute(sweep_groups.select()).all()
        assert len(links) == 1 and links[0].sweep_id == made.id


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_selection_by_sweep_is_what_loops_select(registry: Registry, data: st.DataObject) -> None:
    """Sweeps of two names with several texts each, whichever was run last."""
    with closing(sqlite3.connect(registry.path)) as connection, connection:
        connection.execute("DELETE FROM sweep_groups")
        connection.execute("DELETE FROM sweeps")
    moments = data.draw(st.permutations(range(6)))
    made = []
    for place, moment in enumerate(moments):
        members = data.draw(st.sets(st.sampled_from(NAMES)))
        sweep = make(registry, "ab"[place % 2], f"text {place}", *members)
        set_time(registry, sweep, f"20{moment:02}")
        made.append((sweep.name, moment, members))
    chosen = data.draw(st.sets(st.sampled_from("ab"), min_size=1))
    symmetry = data.draw(st.sampled_from([(), ("w",), ("standard", "syre")]))
    expected = set()
    for name in chosen:
        expected |= max((moment, members) for own, moment, members in made if own == name)[1]
    expected &= {"baseline"} if symmetry == ("w",) else set(NAMES[1:]) if symmetry else set(NAMES)
    with registry.read() as connection:
        found = groups.all_groups(connection, Selection(sweep=tuple(chosen), symmetry=symmetry))
    assert {group.name for group in found} == expected and len(found) == len(expected)


def test_an_unknown_sweep_is_not_found(registry: Registry) -> None:
    with registry.read() as connection, pytest.raises(NotFoundError) as error:
        check(connection, Selection(sweep=("kappa",)))
    assert error.value.hint == "nid sweep FILE.toml runs one"
    make(registry, "kappas", "a")
    with registry.read() as connection, pytest.raises(NotFoundError) as error:
        check(connection, Selection(sweep=("kappa",)))
    assert "'kappa'" in error.value.message and error.value.hint == "did you mean kappas?"


def test_commands_select_by_sweep(registry: Registry, terminal: Terminal) -> None:
    make(registry, "mine", "a", "baseline")
    assert [g["name"] for g in terminal.records("group", "list", "--sweep", "mine")] == ["baseline"]
    assert {r["group"] for r in terminal.records("lmc", "--points", "3", "--sweep", "mine")} == {"baseline"}
    assert terminal("lmc", "--sweep", "mime") == 3 and "did you mean mine?" in terminal.errors
    assert terminal("lmc", "--sweep", "mine", "--symmetry", "syre") == 3 and "no group matches" in terminal.errors


def test_names_of_sweeps_are_completed(
    registry: Registry, terminal: Terminal, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from nid_cli.cli.options import complete_sweeps

    for text in ("a", "b"):
        make(registry, "mine", text)
    assert complete_sweeps() == ["mine"]
    (tmp_path / "empty").mkdir()
    monkeypatch.setenv("NID_REGISTRY", str(tmp_path / "empty/registry.db"))
    assert complete_sweeps() == []


def test_notebooks_select_by_sweep(registry: Registry, terminal: Terminal) -> None:
    from nid_cli import open_registry

    make(registry, "mine", "a", "baseline")
    archive = open_registry(terminal.database)
    assert list(archive.groups(sweep="mine")["name"]) == ["baseline"]
    assert set(archive.results("lmc", sweep=["mine"])["group"]) == {"baseline"}
    assert set(archive.results("lmc", ["group"], sweep="mine")["group"]) == {"baseline"}
    with pytest.raises(NotFoundError):
        archive.results("lmc", sweep="another")


def test_lineages_say_the_sweep_and_the_worker(registry: Registry, terminal: Terminal) -> None:
    made = make(registry, "mine", "a", "baseline")
    worker = {"host": "node7", "device": "cuda:1", "versions": {"torch": "2.9"}}
    with registry.write() as connection:
        group = groups.by_name(connection, "baseline")
        first, second = runs.models_of(connection, group_id=group.id)
        origin = invocations.describe("sweep", ["nid", "sweep", "mine.toml"], sweep_id=made.id)
        call = invocations.begin(connection, origin)
        runs.set_status(connection, [first.id], "complete", invocation_id=call)
        runs.record_worker(connection, [first.id], worker)
        connection.execute(results.update().where(results.c.group_id == group.id).values(invocation_id=call))
        invocations.finish(connection, call, "done")
    said = {"name": "mine", "hash": made.hash}
    own, other = (member["lineage"] for member in terminal.records("group", "show", "baseline")[0]["members"])
    assert own["worker"] == worker and own["sweep"] == said and own["command"] == ["nid", "sweep", "mine.toml"]
    assert other["worker"] is None and other["sweep"] is None
    found = terminal.records("lmc", "--points", "3")
    assert {r["group"]: r["lineage"]["sweep"] for r in found} == {"baseline": said, "mlp-digits-standard": None}
    with registry.write() as connection:
        runs.record_stack(connection, first.id, [1, 2])
        runs.record_worker(connection, [first.id, second.id], {})
        found = runs.lineage_of(connection, [first.id, second.id])
        assert [found[model.id]["worker"] for model in (first, second)] == [{"stacked": [1, 2]}, None]
        runs.forget_workers(connection, [first.id, second.id])
        assert {own["worker"] for own in runs.lineage_of(connection, [first.id, second.id]).values()} == {None}


def test_the_command_of_a_figure_names_its_sweep() -> None:
    from nid_cli.pipeline.analyses.requests import command_line
    from nid_cli.pipeline.context import Context

    chosen = Selection(sweep=("mine", "two words"), symmetry=("w",))
    assert command_line(Context(), "lmc", chosen, {}) == "nid lmc --symmetry w --sweep mine --sweep 'two words'"
