"""Figures of the browser are those of the command line, drawn once."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from typing import Any

import pytest

from nid_cli.pipeline.figures.table import FIGURES
from nid_cli.web import drawing
from nid_cli.web.desk import Desk
from nid_cli.web.drawing import DATA, PICTURES, asked, find
from nid_cli.web.kept import Kept
from tests.conftest import Terminal

RECORDED = {"training": "group=baseline", "lmc": "group=baseline&points=3", "cost": "group=baseline&layers=0"}


@pytest.mark.parametrize("name", RECORDED)
def test_a_figure_and_its_data_are_the_files_of_the_command(own_site: Any, terminal: Terminal, name: str) -> None:
    page = own_site.get(f"/figure/{name}?{RECORDED[name]}")
    assert page.status_code == 200 and "Not drawn" not in page.text
    [line] = re.findall(r'data-copy="nid (plot [^"]*)"', page.text)
    for ending in PICTURES if name == "lmc" else (".svg",):
        target = f"out{ending}"
        assert terminal(*line.replace(f"{name}.pdf", target).split(), "--export", "out.csv") == 0, terminal.errors
        drawn = own_site.get(f"/draw/{name}{ending}?{RECORDED[name]}")
        assert drawn.headers["content-type"].startswith(PICTURES[ending])
        assert drawn.content == (terminal.folder / target).read_bytes()
    assert own_site.get(f"/draw/{name}.csv?{RECORDED[name]}").content == (terminal.folder / "out.csv").read_bytes()
    assert own_site.get(f"/draw/{name}.parquet?{RECORDED[name]}").content[:4] == b"PAR1"


def test_a_figure_is_found_as_its_results_were_asked_for(site: Any) -> None:
    page = site.get("/figure/lmc?group=baseline").text
    assert "<img" in page and "nid plot lmc --group baseline --points 3" in page
    asked_for = site.get("/figure/lmc?group=baseline&points=25").text
    assert "<img" not in asked_for and "nid lmc --group baseline" in asked_for, "what is asked for is not changed"


def test_what_is_missing_has_the_command_that_makes_it(own_site: Any, terminal: Terminal) -> None:
    place = own_site.get("/slot/coherence?group=baseline").text
    assert "Not drawn" in place
    [line] = re.findall(r'data-copy="(nid [^"]*)"', place)
    assert terminal("plot", "coherence", "--group", "baseline", "--out", "c.svg") == 3
    assert f"run: {line} (or" in terminal.errors


def test_a_figure_is_drawn_once_until_its_results_change(
    own_site: Any, terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = []
    usual = drawing.render
    monkeypatch.setattr(drawing, "render", lambda *given, **named: drawn.append(given[1]) or usual(*given, **named))
    first = own_site.get("/draw/training.svg?group=baseline")
    again = own_site.get("/draw/training.svg?group=baseline", headers={"if-none-match": first.headers["etag"]})
    assert (again.status_code, again.content, drawn) == (304, b"", [".svg"])
    keyed = re.search(r'src="(/draw/[^"]*)"', own_site.get("/slot/training?group=baseline").text)
    assert keyed is not None
    by_key = own_site.get(keyed[1].replace("&amp;", "&"))
    assert by_key.content == first.content and drawn == [".svg"] and "immutable" in by_key.headers["cache-control"]
    with closing(sqlite3.connect(terminal.database)) as connection, connection:
        connection.execute("UPDATE epochs SET train_loss = train_loss / 2")
    other = own_site.get("/draw/training.svg?group=baseline")
    assert other.headers["etag"] != first.headers["etag"] and drawn == [".svg", ".svg"]


def test_each_figure_of_the_table_can_be_asked_for(desk: Desk, site: Any) -> None:
    for name in FIGURES:
        assert site.get(f"/figure/{name}?group=baseline").status_code == 200
        assert find(desk, asked(name, [("group", "baseline")])).asked.name == name
    assert site.get("/figure/nothing").status_code == 400
    assert site.get("/draw/training").status_code == 404
    assert site.get("/draw/training.exe?group=baseline").status_code == 404


def test_options_are_read_as_the_figures_understand_them(site: Any) -> None:
    own = asked("cost", [("layers", "0,1"), ("betas", ".1,.2"), ("neurons", "8"), ("nonsense", "1")])
    assert own.values == {"layers": ("0", "1"), "betas": [0.1, 0.2], "neurons": 8}
    for wrong in ("points=x", "bn_reset=perhaps", "split=nothing", "align=nothing", "pairs=x"):
        assert "nid itself" not in site.get(f"/figure/lmc?group=baseline&{wrong}").text
    assert site.get("/draw/lmc.svg?group=baseline&points=x").status_code == 400


def test_the_data_have_a_format_for_every_ending() -> None:
    assert set(PICTURES) | set(DATA) == {".svg", ".png", ".pdf", ".csv", ".parquet"}


def test_there_is_room_for_so_much_and_the_longest_unused_goes_first() -> None:
    kept = Kept(room=10)
    kept.put("a", b"1234")
    kept.put("b", b"1234")
    assert kept.get("a") == b"1234"
    kept.put("c", b"1234")
    assert kept.get("b") is None and kept.get("a") == b"1234" and kept.used == 8
    kept.put("c", b"12")
    assert kept.used == 6
    kept.put("large", b"x" * 11)
    assert kept.get("large") is None and kept.used == 0
