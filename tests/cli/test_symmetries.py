"""``nid symmetries``: of the user's code, of registered networks, of native groups."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Terminal
from tests.own import write_code


@pytest.fixture
def code(terminal: Terminal) -> Terminal:
    """A terminal in a folder with native groups and a file of code."""
    write_code(terminal.folder)
    return terminal


def document(terminal: Terminal, *arguments: str) -> dict[str, Any]:
    """The document of ``nid symmetries``."""
    assert terminal("symmetries", *arguments, "--json") == 0, terminal.errors
    return json.loads(terminal.printed)


def test_a_language_models_spaces_are_given_with_their_places(code: Terminal) -> None:
    found = document(code, "nets.py:Tokens", "--input", "5:12")
    assert found["schema"] == "nid.symmetries/1"
    by_label = {record["label"]: record for record in found["records"]}
    assert {label: record["size"] for label, record in by_label.items()} == {
        "stream.1": 8,
        "layer.self_attn.heads": 2,
        "layer.self_attn.qk": 4,
        "layer.self_attn.vo": 4,
        "layer.linear1": 16,
    }
    assert by_label["layer.self_attn.qk"]["depends_on"] == "layer.self_attn.heads"
    assert by_label["layer.linear1"]["depends_on"] is None
    assert ["layer.linear2.weight", 1] in by_label["layer.linear1"]["places"]
    summary = found["summary"]
    assert summary.keys() == {"spaces", "parameters", "moved", "error", "pinned", "seconds"}
    assert summary["spaces"] == 5 and summary["error"] < 1e-12 and summary["moved"] > 0.99
    assert {"reason": "vocabulary", "count": 2} in summary["pinned"]


def test_the_data_set_says_what_is_read(code: Terminal) -> None:
    by_input = document(code, "nets.py:Conv", "--model-arg", "width=4", "--input", "1x8x8")
    by_data = document(code, "nets.py:Conv", "--model-arg", "width=4", "--dataset", "digits")
    assert by_input["records"] == by_data["records"]
    assert [record["size"] for record in by_data["records"]] == [4, 4]


def test_a_native_group_has_its_hidden_layers(code: Terminal) -> None:
    found = document(code, "mlp-digits-standard")
    assert [record["label"] for record in found["records"]] == list(range(len(found["records"])))
    assert found["summary"]["error"] < 1e-12


def test_people_see_a_table_and_a_sentence(code: Terminal, tmp_path: Path) -> None:
    assert code("symmetries", "nets.py:Conv", "--input", "1x8x8", "--export", "s.csv") == 0
    assert "conv1" in code.printed and "% of the parameters moved" in code.errors
    assert "label,size" in (code.folder / "s.csv").read_text()


@pytest.mark.parametrize(
    ("arguments", "word", "code_"),
    [
        (("nets.py:Conv",), "--input", 2),
        (("nets.py:Conv", "--input", "1x8x8", "--dataset", "digits"), "once", 2),
        (("nets.py:Conv", "--input", "x"), "says no input", 2),
        (("nothing",), "no group", 3),
        (("nothing", "--input", "3x8x8"), "--input", 2),
        (("nets.py:Missing", "--input", "3"), "has no Missing", 3),
        (("nets.py:Unknown", "--input", "1x8x8"), "bessel_j0", 2),
    ],
)
def test_what_cannot_be_is_one_sentence(code: Terminal, arguments: tuple[str, ...], word: str, code_: int) -> None:
    assert code("symmetries", *arguments) == code_
    assert word in code.errors and "Traceback" not in code.errors
