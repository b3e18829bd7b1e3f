"""Networks by reference: built as named, and each fault in one sentence."""

from __future__ import annotations

from pathlib import Path

import pytest

from nid_cli.errors import NidError, NotFoundError, UsageError
from nid_cli.pipeline.importing.models import build_module, is_model, parse_model_args
from nid_cli.specs import parse_input

CODE = """
from neighbour import WIDTH
from torch import nn

def build(width=WIDTH, bias=True):
    return nn.Linear(3, width, bias=bias)

def broken(): raise RuntimeError("no data\\nhere")
def number(): return 3
LIMIT = 4
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "neighbour.py").write_text("WIDTH = 5")
    (tmp_path / "nets.py").write_text(CODE)
    (tmp_path / "syntax.py").write_text("def build(:")
    (tmp_path / "absent.py").write_text("import nowhere_at_all")
    return tmp_path


def test_a_file_and_a_package_are_built(folder: Path) -> None:
    assert build_module(f"{folder}/nets.py:build", {}).out_features == 5  # type: ignore[comparison-overlap]
    module = build_module(f"{folder}/nets.py:build", parse_model_args(["width=7", "bias=false"]))
    assert module.out_features == 7 and module.bias is None
    assert type(build_module("torch.nn:ReLU", {})).__name__ == "ReLU"


FAULTS: dict[str, tuple[str, dict[str, object], type[NidError], str]] = {
    "no file": ("nowhere.py:build", {}, NotFoundError, "no file"),
    "no module": ("nowhere.nets:build", {}, NotFoundError, "no module"),
    "no function": ("nets.py:bild", {}, NotFoundError, "has no bild"),
    "not callable": ("nets.py:LIMIT", {}, UsageError, "int"),
    "raises": ("nets.py:broken", {}, UsageError, "RuntimeError: no data"),
    "returns no module": ("nets.py:number", {}, UsageError, "returns a int"),
    "no such argument": ("nets.py:build", {"depth": 3}, UsageError, "depth"),
    "a syntax error": ("syntax.py:build", {}, UsageError, "SyntaxError"),
    "a missing import": ("absent.py:build", {}, UsageError, "nowhere_at_all"),
    "no reference": ("nets", {}, UsageError, "names no model"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_faults_are_sentences(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reference, arguments, kind, word = FAULTS[name]
    monkeypatch.chdir(folder)
    with pytest.raises(kind) as caught:
        build_module(reference, arguments)
    assert word in caught.value.message and "\n" not in caught.value.message
    if name == "no function":
        assert caught.value.hint == "did you mean build?"


def test_names_of_models() -> None:
    assert is_model("nets.py:build") and is_model("torchvision.models:resnet18")
    assert not is_model("mlp") and not is_model("nets.py") and not is_model(":x") and not is_model("a:b c")


def test_arguments_are_numbers_truths_lists_or_text() -> None:
    found = parse_model_args(["a=3", "b=0.5", "c=true", "d=text", "e=[1, 2]", "f=None", "g=x=y"])
    assert found == {"a": 3, "b": 0.5, "c": True, "d": "text", "e": [1, 2], "f": None, "g": "x=y"}
    for wrong in (["a"], ["=3"], ["a=1", "a=2"], ["a b=1"]):
        with pytest.raises(UsageError):
            parse_model_args(wrong)


def test_inputs() -> None:
    assert parse_input("3x64x64") == ((3, 64, 64), None)
    assert parse_input("16:100") == ((16,), 100)
    assert parse_input("5") == ((5,), None)
    for wrong in ("", "0x3", "3x", "x3", "-3", "3:0", "3:x", "3.5", "3x64x64:", "1" * 30):
        with pytest.raises(UsageError):
            parse_input(wrong)
