"""What the README and docs/ point to is there."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from tests.docs.pages import FENCE, PAGES, ROOT, anchors, links, parts, paths

ADDITIONS = (
    "symmetry type", "architecture", "data set", "alignment", "analysis", "figure", "engine", "record's field",
    "registry column",
)  # fmt: skip


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_and_images_are_there(page: Path) -> None:
    for target in links(page.read_text()):
        name, _, anchor = target.partition("#")
        file = page.parent / name if name else page
        assert file.exists(), target
        assert not anchor or anchor in anchors(file.read_text()), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_paths_are_there(page: Path) -> None:
    for path in paths(page.read_text()):
        assert (ROOT / path).exists(), path


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_span_runs_over_the_end_of_a_line_where_it_would_not_be_found(page: Path) -> None:
    assert [line for line in page.read_text().splitlines() if line.count("`") % 2 and not line.startswith(FENCE)] == []


def test_every_page_is_reached_from_the_readme() -> None:
    linked = {(ROOT / target).resolve() for target in links((ROOT / "README.md").read_text())}
    assert {page.resolve() for page in PAGES[1:]} <= linked


def test_contributing_names_a_file_for_each_addition() -> None:
    text = (ROOT / "docs/contributing.md").read_text()
    for what in ADDITIONS:
        [section] = re.findall(rf"^\*\*An? {what}\*\*.*?(?=^\*\*|\Z)", text, re.MULTILINE | re.DOTALL)
        assert paths(section), what


def test_the_tree_in_the_readme_is_the_house() -> None:
    tree = re.findall(r"^ {6}(\w[\w.]*/?) ", (ROOT / "README.md").read_text(), re.MULTILINE)
    found = {
        f"{p.name}/" if p.is_dir() else p.name for p in (ROOT / "nid_cli").iterdir() if not p.name.startswith("__")
    }
    assert set(tree) == found
    rooms = re.findall(r"^ {8}(\w+)/ ", (ROOT / "README.md").read_text(), re.MULTILINE)
    folders = [p.name for p in (ROOT / "nid_cli/pipeline").iterdir() if p.is_dir() and not p.name.startswith("__")]
    assert sorted(rooms) == sorted(folders)


def test_science_has_the_sections_that_the_code_refers_to() -> None:
    numbers = re.findall(r"^## (\d+)\. ", (ROOT / "docs/science.md").read_text(), re.MULTILINE)
    assert numbers == [*map(str, range(1, 18))]
    for path in (ROOT / "nid_cli").rglob("*.py"):
        for number in re.findall(r"(?<!, )\bsections? (\d+)", path.read_text()):
            assert number in numbers, path


def test_an_archive_of_the_sources_has_the_pages_and_their_pictures() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert {"docs", "README.md"} <= set(project["tool"]["hatch"]["build"]["targets"]["sdist"]["include"])
    assert project["project"]["readme"] == "README.md"


def test_readers_of_pages_find_what_they_look_for() -> None:
    text = (
        "# A `b`, c\n[x](docs/y.md#z) ![p](q.png) [w](https://w.org) `nid_cli/a.py`\n```sh\nnid lmc\n```\n`nid db gc`"
    )
    assert links(text) == ["docs/y.md#z", "q.png"] and anchors(text) == {"a-b-c"} and paths(text) == ["nid_cli/a.py"]
    assert [(p.kind, p.text, p.line) for p in parts(text)] == [("sh", "nid lmc", 4), ("span", "nid db gc", 6)]
