"""Declared records: what commands print is what is declared, and the page says so."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from nid_cli.records import Lmc, Record
from nid_cli.records.lmc import Curve
from nid_cli.records.page import KINDS, markdown
from nid_cli.specs import SPLITS
from tests.conftest import Terminal, execute, records

PAGE = Path(__file__).parents[2] / "docs/records.md"
EVERY = [kind for kinds in KINDS.values() for kind in kinds]


def test_the_page_is_current() -> None:
    assert PAGE.read_text() == markdown(), "python -m nid_cli.records.page > docs/records.md"


@pytest.mark.parametrize("kind", EVERY, ids=lambda kind: kind.__name__)
def test_every_column_is_declared_once_with_a_sentence(kind: type[Record]) -> None:
    columns = kind.columns()
    assert len({column.name for column in columns}) == len(columns)
    assert all(column.meaning[:1].isupper() or column.meaning[:1].islower() for column in columns)
    assert all(column.meaning.endswith(".") and column.kind for column in columns) and kind.__doc__


def test_parts_are_flattened_and_empty_records_have_every_key() -> None:
    curve = Curve(
        loss=[1.0], accuracy=[2.0], loss_barrier=0.1, loss_barrier_max=0.2, loss_barrier_mid=0.3, error_barrier=0.4,
        error_barrier_max=0.5, error_barrier_mid=0.6, relative_accuracy_drop=-0.7, accuracy_mid=8.0,
    )  # fmt: skip
    full = Lmc(align="none", bn_reset=False, status="ok", train=curve, val=curve, test=curve)
    empty = Lmc(align="none", bn_reset=False, status="not_applicable", reason="why")
    assert list(full.values()) == list(empty.values())
    assert {full.values()[f"{split}_accuracy_mid"] for split in SPLITS} == {8.0}
    measured = empty.values().keys() - {"align", "bn_reset", "anatomy", "status", "reason"}
    assert all(empty.values()[name] is None for name in measured)
    assert list(empty.values()) == [c.name for c in Lmc.columns() if c not in Lmc.about][:-1]


CALLS = {
    "nid lmc": ("lmc", "--points", "3", "--align", "none,activation,weight"),
    "nid match": ("match",),
    "nid similarity": ("similarity",),
    "nid merge": ("merge", "--align", "none,first"),
    "nid cost": ("cost", "--models", "1", "--layers", "0"),
    "nid coherence": ("coherence", "--models", "1"),
    "nid coherence synthetic": (
        "coherence", "synthetic", "--copies", "2", "--outer-seeds", "1", "--num-pairs", "1", "--epochs", "1",
    ),
    "nid train": ("train", "--symmetry", "w", "--width", "4", "--depth", "2", "--epochs", "1"),
    "nid group": ("group", "list"),
    "nid plot": ("plot", "--list"),
    "nid sweep": ("sweep", "--list"),
    "nid db": ("db", "path"),
    "nid doctor": ("doctor",),
}  # fmt: skip


@pytest.mark.parametrize("command", CALLS)
def test_commands_print_what_is_declared(command: str, terminal: Terminal) -> None:
    found = terminal.records(*CALLS[command])
    assert found
    for record in found:
        fitting = [kind for kind in KINDS[command] if record.keys() <= {c.name for c in kind.columns()}]
        assert fitting, record.keys()


def test_ridge_records_are_declared_too(terminal: Terminal) -> None:
    [record] = terminal.records(
        "cost", "--group", "baseline", "--models", "1", "--layers", "0", "--method", "ridge", "--betas", "1",
        "--neurons", "2",
    )  # fmt: skip
    ridge = KINDS["nid cost"][1]
    assert record.keys() == {column.name for column in ridge.columns()}


@pytest.mark.parametrize("arguments", [("group", "show", "mlp-digits-standard"), ("db", "check"), ("db", "gc")])
def test_other_commands_print_what_is_declared(arguments: tuple[str, ...], terminal: Terminal) -> None:
    declared = {c.name for kind in KINDS[f"nid {arguments[0]}"] for c in kind.columns()}
    terminal(*arguments, "--json")
    assert all(record.keys() <= declared for record in json.loads(terminal.printed)["records"])


def test_a_csv_has_its_columns_in_the_declared_order(lab: Path, tmp_path: Path) -> None:
    target = tmp_path / "lmc.csv"
    shutil.copytree(lab / ".nid", tmp_path / ".nid")
    assert records(execute(tmp_path, "lmc", "--symmetry", "sigma", "--points", "3", "--export", str(target), "--json"))
    header = target.read_text().splitlines()[0].split(",")
    assert header == [c.name for c in Lmc.columns() if not c.large]
