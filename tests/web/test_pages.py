"""The pages say what the registry and the command line say."""

from __future__ import annotations

import hashlib
import html
import json
import re
import shlex
import sqlite3
import urllib.parse
from contextlib import closing
from typing import Any

import pytest
from sqlalchemy import text

from nid_cli.errors import RegistryError
from nid_cli.pipeline.analyses.catalog import ANALYSES
from nid_cli.pipeline.figures.table import FIGURES
from nid_cli.records.group import GroupSummary
from nid_cli.registry import listing
from nid_cli.registry.activity import Ended, Training
from nid_cli.registry.database import Registry, only_reading
from nid_cli.registry.listing import Window
from nid_cli.specs import Selection
from nid_cli.web.links import ONE, SEVERAL, address, chosen, without
from nid_cli.web.pages.running import Sweep, duration, epochs_a_minute, epochs_of
from tests.conftest import Terminal

GROUPS = {"baseline", "mlp-digits-standard", "mlp-digits-syre-k1"}


def names(page: Any) -> list[str]:
    """The groups that a list shows, in its order."""
    assert page.status_code == 200, page.text
    found = re.findall(r'<a class="open" href="/group/([^"]+)"', page.text)
    return [urllib.parse.unquote(html.unescape(name)) for name in found]


def commands(page: Any) -> list[list[str]]:
    """The command lines that a page offers to copy."""
    return [shlex.split(html.unescape(line))[1:] for line in re.findall(r'data-copy="([^"]*)"', page.text)]


def test_the_list_has_every_group_and_the_newest_first(own_site: Any, terminal: Terminal) -> None:
    listed = [record["name"] for record in terminal.records("group", "list")]
    assert names(own_site.get("/")) == listed[::-1] and set(listed) == GROUPS


SELECTIONS = [
    [("symmetry", "w")],
    [("symmetry", "w"), ("symmetry", "syre")],
    [("symmetry", "syre"), ("kappa", "1")],
    [("kappa", "null")],
    [("arch", "mlp"), ("dataset", "digits")],
    [("dataset", "mnist")],
    [("group", "baseline"), ("group", "mlp-digits-syre-k1")],
    [("sweep", "s")],
]


@pytest.mark.parametrize("words", SELECTIONS, ids=str)
def test_a_view_is_its_address_and_its_command_line_lists_the_same(
    own_site: Any, terminal: Terminal, words: list[tuple[str, str]]
) -> None:
    with closing(sqlite3.connect(terminal.database)) as connection, connection:
        connection.execute("INSERT INTO sweeps VALUES (1, 's', 'text', 'hash', '2026', '2026')")
        connection.execute("INSERT INTO sweep_groups SELECT 1, id FROM groups WHERE name = 'baseline'")
    page = own_site.get("/", params=words)
    asked = [part for name, value in words for part in (f"--{name}", value)]
    expected = {record["name"] for record in terminal.records("group", "list", *asked)}
    assert set(names(page)) == expected
    [shown] = commands(page)
    assert {record["name"] for record in terminal.records(*shown)} == expected


def test_a_search_finds_names_and_notes_and_its_command_names_what_it_found(own_site: Any, terminal: Terminal) -> None:
    terminal("group", "note", "mlp-digits-standard", "100% of the Base_line")
    for search, expected in {
        "BASE": {"baseline", "mlp-digits-standard"},
        "digits syre": {"mlp-digits-syre-k1"},
    }.items():
        page = own_site.get("/", params={"search": search})
        assert set(names(page)) == expected
        [shown] = commands(page)
        assert {record["name"] for record in terminal.records(*shown)} == expected
    assert names(own_site.get("/", params={"search": "100%"})) == ["mlp-digits-standard"]
    assert names(own_site.get("/", params={"search": "s_l"})) == [], "no pattern"
    nothing = own_site.get("/", params={"search": "nothing"})
    assert names(nothing) == [] and "No group matches" in nothing.text


@pytest.mark.parametrize("sort", listing.SORTS)
def test_windows_are_the_sorted_list_in_parts(terminal: Terminal, sort: str) -> None:
    registry = Registry(terminal.database)
    with registry.read() as connection:
        whole = list(listing.summaries(connection, Selection()))
        for descending in (False, True):
            parts = []
            for start in range(len(whole) + 1):
                window = Window(sort=sort, descending=descending, start=start, size=1)
                total, rows = listing.page(connection, Selection(), window)
                assert total == len(whole)
                parts += rows
            # Groups without a kappa come first; those that are alike stay as they were made.
            keys = {"kappa": lambda r: (r["kappa"] is not None, r["kappa"] or 0)}
            order = sorted(whole, key=keys.get(sort, lambda r: r[sort]))
            if descending:
                order = order[::-1]
            assert parts == order


def test_choices_count_what_choosing_them_gives(own_site: Any, terminal: Terminal) -> None:
    with Registry(terminal.database).read() as connection:
        for own in (Selection(), Selection(symmetry=("w",)), chosen([("symmetry", "w"), ("kappa", "null")])):
            values = listing.values(connection, own)
            for name, counts in values.items():
                for value, count in counts.items():
                    alone = chosen(
                        [*((n, str(v)) for n in SEVERAL for v in getattr(without(own, name), n)), (name, value)]
                    )
                    assert listing.page(connection, alone, Window())[0] == count


def test_an_address_gives_its_selection_back() -> None:
    words = [
        ("arch", "mlp"),
        ("kappa", "1,0.5"),
        ("kappa", "null"),
        ("group", "a&b=c"),
        ("models", "1,2"),
        ("epochs", "all"),
    ]
    own = chosen(words)
    query = urllib.parse.urlsplit(address("/", own, {"sort": "name", "page": None})).query
    back = urllib.parse.parse_qsl(query)
    assert chosen(back) == own and ("sort", "name") in back and "page" not in dict(back)
    assert set(SEVERAL) | set(ONE) == set(Selection.__dataclass_fields__)


def test_every_column_of_the_list_is_declared() -> None:
    from nid_cli.web.pages.groups import COLUMNS

    assert set(COLUMNS) <= {column.name for column in GroupSummary.columns()}


def test_a_group_leads_to_the_bytes_commands_and_versions_behind_it(own_site: Any, terminal: Terminal) -> None:
    page = html.unescape(own_site.get("/group/baseline").text)
    [record] = terminal.records("group", "show", "baseline")
    for member in record["members"]:
        assert all(checkpoint["sha256"] in page for checkpoint in member["checkpoints"])
        assert shlex.join(member["lineage"]["command"]) in page
        assert all(f"{name} {version}" in page for name, version in member["lineage"]["versions"].items())
    assert record["data_fingerprint"] in page and record["fixed_hash"] in page
    for name in [name for name, value in record["settings"].items() if value is not None]:
        assert f"<dt>{name.replace('_', ' ')}</dt>" in page
    [line, *_] = [own for own in commands(own_site.get("/group/baseline")) if own[:2] == ["group", "show"]]
    assert terminal(*line) == 0


def test_a_group_that_is_not_there_is_a_sentence(site: Any) -> None:
    page = site.get("/group/baselin")
    assert page.status_code == 404 and "did you mean baseline?" in page.text


def test_every_figure_of_groups_has_its_place_on_a_group(site: Any) -> None:
    page = html.unescape(site.get("/group/baseline").text)
    for name, entry in FIGURES.items():
        assert not entry.selectors or f"/figure/{name}?" in page


def test_a_result_has_every_declared_field_and_its_lineage(own_site: Any, terminal: Terminal) -> None:
    for kind, analysis in ANALYSES.items():
        with Registry(terminal.database).read() as connection:
            ids = connection.execute(
                text("SELECT result_id, record, checkpoints FROM results WHERE kind = :k"), {"k": kind}
            )
            rows = ids.all()
        for result_id, record, checkpoints in rows:
            page = html.unescape(own_site.get(f"/result/{result_id}").text)
            said = re.sub("</?code>", "`", page)
            declared = {column.name: column for own in analysis.records for column in own.columns()}
            assert all(declared[name].meaning in said for name in json.loads(record))
            assert all(sha256 in page for sha256 in json.loads(checkpoints))
    assert own_site.get("/result/0000000000000000").status_code == 404


def test_groups_are_compared_in_what_differs_and_what_was_measured(site: Any) -> None:
    page = site.get("/compare?group=baseline&group=mlp-digits-standard").text
    differs = page[page.index('id="differs"') : page.index("</table>")]
    assert '<th scope="col" class="n">symmetry</th>' in differs and "batch size" not in differs
    assert "Linear mode connectivity" in page and "train loss barrier" in page
    assert site.get("/compare").status_code == 200


def cut_off(terminal: Terminal) -> None:
    """A training whose process is gone without a word."""
    with closing(sqlite3.connect(terminal.database)) as connection, connection:
        connection.execute("UPDATE invocations SET status = 'running', ended_at = NULL WHERE argv LIKE '%syre%'")
        connection.execute("UPDATE models SET status = 'training' WHERE status = 'interrupted'")


def test_what_is_cut_off_has_the_command_that_goes_on(own_site: Any, terminal: Terminal) -> None:
    cut_off(terminal)
    page = html.unescape(own_site.get("/running").text)
    assert "nid train --symmetry syre" in page and "interrupted" in page and "Nothing is at work" in page


def test_nothing_is_written_whatever_is_looked_at(own_site: Any, terminal: Terminal) -> None:
    cut_off(terminal)
    before = hashlib.sha256(terminal.database.read_bytes()).hexdigest()
    for path in ("/", "/running", "/group/mlp-digits-syre-k1", "/compare?symmetry=w", "/figure/lmc?symmetry=w"):
        assert own_site.get(path).status_code == 200
    assert hashlib.sha256(terminal.database.read_bytes()).hexdigest() == before
    with closing(sqlite3.connect(terminal.database)) as connection:
        assert connection.execute("SELECT count(*) FROM invocations WHERE status = 'running'").fetchone() == (1,)


def test_a_registry_that_is_only_read_lets_nothing_be_written(terminal: Terminal) -> None:
    with only_reading():
        registry = Registry(terminal.database)
    assert not registry.can_write and Registry(terminal.database).can_write
    with pytest.raises(RegistryError), registry.write() as connection:
        connection.execute(text("UPDATE groups SET note = 'x'"))


def test_a_registry_that_goes_away_and_comes_back(own_site: Any, terminal: Terminal) -> None:
    aside = terminal.database.with_suffix(".aside")
    terminal.database.rename(aside)
    assert own_site.get("/").status_code == 404
    aside.rename(terminal.database)
    assert own_site.get("/").status_code == 200


def training(done: int, length: int, seconds: float | None) -> Training:
    spent = done * (seconds or 0)
    return Training(
        invocation=1, group="g", model=1, status="training", done=done, length=length, seconds=seconds, spent=spent,
        train_loss=None, train_accuracy=None,
    )  # fmt: skip


def test_progress_is_counted_and_rates_are_those_of_models_side_by_side() -> None:
    two = [training(10, 100, 2.0), training(10, 100, 2.0), training(0, 100, None)]
    nothing = Ended(models=0, epochs=0, spent=0.0)
    assert epochs_of(two, nothing) == (20, 300)
    assert epochs_a_minute(two, nothing, elapsed=20) == pytest.approx(60)  # two at a time, 2 s an epoch
    assert epochs_a_minute(two, nothing, elapsed=40) == pytest.approx(30)  # one after the other
    assert epochs_a_minute([training(0, 100, None)], nothing, elapsed=5) is None
    one_ended = Ended(models=1, epochs=100, spent=200.0)
    assert epochs_of(two[:1], one_ended) == (110, 200)
    assert epochs_a_minute([training(0, 100, None)], one_ended, elapsed=200) == pytest.approx(30)


def test_a_sweep_counts_what_it_has_not_begun() -> None:
    own = Sweep(models=10, there=4, ended=1)
    ended = Ended(models=1, epochs=100, spent=200.0)
    assert epochs_of([training(10, 100, 2.0)] * 3, ended, own) == (130, 1000)
    assert epochs_of([], Ended(models=0, epochs=0, spent=0.0), own) == (0, 0)


def test_durations_are_as_people_say_them() -> None:
    said = {0.4: "0 s", 59.4: "59 s", 60: "1 min", 90: "1 min 30 s", 1500: "25 min", 7200: "2 h", 8000: "2 h 13 min"}
    assert {seconds: duration(seconds) for seconds in said} == said
    assert duration(200_000) == "2 d 7 h"


def test_a_page_beyond_the_last_is_the_last(site: Any) -> None:
    assert set(names(site.get("/?page=999"))) == GROUPS


@pytest.mark.parametrize("query", ["symmetri=w", "search=" + "a+" * 60, "symmetry=w&colour=red"])
def test_filters_that_mean_nothing_are_sentences(site: Any, query: str) -> None:
    for path in ("/", "/compare"):
        answer = site.get(f"{path}?{query}")
        assert answer.status_code == 400 and "error in nid itself" not in answer.text


def test_models_and_epochs_go_along_into_the_comparison_of_what_is_chosen(site: Any) -> None:
    form = site.get("/?models=1&epochs=all").text.split('<form id="chosen"')[1].split("</form>")[0]
    assert 'name="models" value="1"' in form and 'name="epochs" value="all"' in form


def test_a_figure_of_matrices_is_refused_for_many_groups_before_any_is_read(site: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr("nid_cli.web.drawing.MOST_WITH_MATRICES", 2)
    monkeypatch.setattr("nid_cli.web.drawing.gather_complete", None)
    answer = site.get("/slot/cost")
    assert answer.status_code == 400 and "3 groups match, and here this figure shows 2 at most" in answer.text
    assert "nid plot cost" in answer.text


def test_a_training_of_which_nothing_is_left_is_not_cut_off(own_site: Any, terminal: Terminal) -> None:
    cut_off(terminal)
    assert "interrupted" in own_site.get("/running").text
    with closing(sqlite3.connect(terminal.database)) as connection, connection:
        connection.execute("UPDATE models SET status = 'complete' WHERE status IN ('training', 'interrupted')")
    assert "interrupted" not in own_site.get("/running").text
