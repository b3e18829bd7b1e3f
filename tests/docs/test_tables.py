"""What is there by name is in the page that explains it: the tables of the pages are held to those of the program."""

from __future__ import annotations

import re
from collections.abc import Iterable

import pytest

from nid_cli.analysis.catalog import METHODS, SIMILARITIES
from nid_cli.data.catalog import CATALOG, resolve_parameters
from nid_cli.data.grammar import bigram_floor, entropy_floor
from nid_cli.nets import ARCHITECTURES
from nid_cli.pipeline.analyses.catalog import ANALYSES
from nid_cli.pipeline.figures.table import FIGURES
from nid_cli.specs import ALIGNMENTS, SYMMETRIES
from tests.docs.pages import ROOT


def section(page: str, title: str) -> str:
    """The text of a page below a title."""
    text = (ROOT / "docs" / page).read_text()
    [found] = re.findall(rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    return found


def quoted(text: str) -> set[str]:
    """The words in backquotes of the first cells of tables."""
    cells = [line.split("|")[1] for line in text.splitlines() if line.startswith("|")]
    return {word for cell in cells for word in re.findall(r"`([^`]+)`", cell)}


@pytest.mark.parametrize(
    ("page", "title", "names"),
    [
        ("models.md", "Symmetry types", SYMMETRIES),
        ("models.md", "Architectures", ARCHITECTURES),
        ("models.md", "Data sets", CATALOG),
        ("science.md", "1. Symmetry types", SYMMETRIES),
    ],
)
def test_a_table_has_all_of_them_and_nothing_else(page: str, title: str, names: Iterable[str]) -> None:
    assert {word for word in quoted(section(page, title)) if not word.startswith("--")} == set(names)


def test_what_proposed_a_symmetry_type_is_said_alike() -> None:
    rows = {
        line.split("|")[1].strip(" `"): line
        for line in section("science.md", "1. Symmetry types").splitlines()
        if line.startswith("| `")
    }
    assert all(entry.reference in rows[name] for name, entry in SYMMETRIES.items())


@pytest.mark.parametrize(
    ("page", "words"),
    [
        ("instruments.md", [f"`{name}`" for name in (*ALIGNMENTS, *METHODS)]),
        ("instruments.md", [f"nid {analysis.command}" for analysis in ANALYSES.values()]),
        ("instruments.md", list(SIMILARITIES)),
        ("figures.md", [f"nid plot {name} " for name in (*FIGURES, "report")]),
        ("science.md", [f"*{title}" for title in ("coherence", "anisotropy", "Alignment")]),
    ],
)
def test_a_page_names_all_of_them(page: str, words: list[str]) -> None:
    text = (ROOT / "docs" / page).read_text()
    assert [word for word in words if word not in text] == []


def test_the_floors_of_the_grammar_are_those_that_are_computed() -> None:
    text, parameters = section("models.md", "Data sets"), resolve_parameters("grammar", {})
    assert f"{entropy_floor(parameters):.3f} nats" in text and f"below {bigram_floor(parameters):.3f}" in text
