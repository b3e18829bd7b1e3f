"""Columns of results, read alone: the values are those of whole records, in exports and in notebooks."""

from __future__ import annotations

import csv
import json
import sqlite3
from contextlib import closing
from dataclasses import dataclass, replace

import numpy as np
import pytest

from nid_cli import open_registry
from nid_cli.errors import UsageError
from nid_cli.pipeline.analyses.catalog import ANALYSES
from nid_cli.records import MahalanobisCost, Match, RidgeCost
from nid_cli.records.base import column, nested
from nid_cli.registry import artifacts, columns, results
from nid_cli.registry.database import Registry
from nid_cli.registry.results import of_kind
from nid_cli.specs import Selection
from tests.conftest import Terminal

STORED = ["result_id", "group", "arch", "dataset", "symmetry", "kappa", "epoch"]
FIELDS = {
    "lmc": ["model_a", "model_b", "align", "lambdas", "train_error_barrier", "reason", "train_accuracy_mid"],
    "match": ["model_a", "model_b", "layer", "optimal", "permutation"],
    "cost": ["model", "layer", "method", "swap_squared_median", "cost_squared_quantiles", "beta"],
}


def spoil(terminal: Terminal, kind: str, field: str) -> None:
    """Makes a field of the oldest result of a kind a NaN, as JSON of Python has it."""
    with closing(sqlite3.connect(terminal.database)) as connection:
        [(row, text)] = connection.execute(
            "SELECT id, record FROM results WHERE kind = ? ORDER BY id LIMIT 1", (kind,)
        ).fetchall()
        record = json.loads(text) | {field: float("nan")}
        connection.execute("UPDATE results SET record = ? WHERE id = ?", (json.dumps(record), row))
        connection.commit()


def same(one: object, other: object) -> bool:
    """Equal, NaN to NaN."""
    return json.dumps(one) == json.dumps(other)


@pytest.mark.parametrize("takes_values", [True, False], ids=["single values", "whole records"])
@pytest.mark.parametrize("kind", FIELDS)
def test_values_are_those_of_whole_records(
    kind: str, takes_values: bool, terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where SQLite cannot take single values out of JSON, and where a record is no JSON to it."""
    monkeypatch.setattr(columns, "TAKES_VALUES", takes_values and columns.TAKES_VALUES)
    spoil(terminal, kind, FIELDS[kind][-1])
    names = [*STORED, *FIELDS[kind]]
    with Registry(terminal.database).read() as connection:
        for selection in (Selection(), Selection(symmetry=("standard",)), Selection(group=("baseline",))):
            whole = of_kind(connection, kind, selection)
            found = columns.read_columns(connection, kind, names, selection)
            assert list(found) == names
            for name in names:
                assert same(found[name], [record.get(name) for record in whole]), name
        values = [record.get(FIELDS[kind][-1]) for record in of_kind(connection, kind, Selection())]
        assert any(value != value for value in values)  # the NaN was among them


@pytest.mark.parametrize("kind", FIELDS)
def test_a_notebook_reads_the_columns_of_its_whole_records(kind: str, terminal: Terminal) -> None:
    lab = open_registry(terminal.database)
    names = [*FIELDS[kind], "group", "kappa"]
    whole, some = lab.results(kind), lab.results(kind, columns=names)
    assert list(some.columns) == names and len(some) == len(whole) > 0
    for name in (name for name in names if name in whole):
        assert same(some[name].tolist(), whole[name].tolist()), name


def test_fields_choose_among_the_rows_also_by_columns_that_are_not_shown(terminal: Terminal) -> None:
    lab = open_registry(terminal.database)
    chosen = {"symmetry": ["standard", "w"], "align": ["weight", "activation"], "model_a": [1, 2]}
    whole, some = lab.results("lmc", **chosen), lab.results("lmc", columns=["result_id"], **chosen)
    assert some["result_id"].tolist() == whole["result_id"].tolist() != []
    assert list(some.index) == list(range(len(some))) and list(some.columns) == ["result_id"]
    none = lab.results("lmc", columns=["group", "distance"], epoch=12345)
    assert none.empty and list(none.columns) == ["group", "distance"]
    assert lab.results("coherence", columns=["layer"]).shape == (0, 1)  # none are recorded


def test_matrices_and_lineage_are_columns_too(terminal: Terminal) -> None:
    lab = open_registry(terminal.database)
    whole = lab.results("cost")
    some = lab.results("cost", columns=["layer", "swap_squared", "lineage"])
    assert len(some) == len(whole) and list(some.columns) == ["layer", "swap_squared", "lineage"]
    for one, other in zip(some["swap_squared"], whole["swap_squared"], strict=True):
        assert isinstance(one, np.ndarray) and np.array_equal(one, other)
    assert some["lineage"].tolist() == whole["lineage"].tolist()


def test_unknown_columns_are_refused_with_the_nearest_name(terminal: Terminal) -> None:
    with pytest.raises(UsageError, match="distanse") as refused:
        open_registry(terminal.database).results("lmc", columns=["distanse"])
    assert "distance" in str(refused.value.hint)
    before = terminal.database.read_bytes()
    for command in ("lmc", "match", "cost", "coherence"):
        assert terminal(command, "--columns", "group,epohc") == 2
        assert "epohc" in terminal.errors and "epoch" in terminal.errors and "Traceback" not in terminal.errors
    assert terminal("lmc", "--columns", "") == 2
    assert terminal.database.read_bytes() == before


def test_commands_export_the_columns_in_their_order(terminal: Terminal) -> None:
    asked = ("lmc", "--points", "3", "--group", "baseline")
    whole = terminal.records(*asked)
    some = terminal.records(*asked, "--columns", "distance,group,distance")
    assert some == [{"distance": record["distance"], "group": record["group"]} for record in whole] != []
    for ending in (".json", ".jsonl", ".csv", ".parquet"):
        assert terminal(*asked, "--columns", "model_b,train_loss", "--export", f"some{ending}") == 0
    expected = [{"model_b": record["model_b"], "train_loss": record["train_loss"]} for record in whole]
    assert json.loads((terminal.folder / "some.json").read_text())["records"] == expected
    with open(terminal.folder / "some.csv") as file:
        rows = list(csv.DictReader(file))
    assert [{n: json.loads(v) for n, v in row.items()} for row in rows] == expected and list(rows[0]) == [*expected[0]]
    import pyarrow.parquet

    assert pyarrow.parquet.read_table(terminal.folder / "some.parquet").to_pylist() == expected


def test_a_large_column_is_exported_where_it_is_asked_for(terminal: Terminal) -> None:
    asked = ("cost", "--models", "1", "--layers", "0", "--group", "baseline")
    [whole] = terminal.records(*asked)
    [some] = terminal.records(*asked, "--columns", "swap_squared")
    assert some == {"swap_squared": whole["swap_squared"]} and len(some["swap_squared"]) == whole["neurons"]
    [without] = terminal.records(*asked, "--columns", "beta,layer")
    assert without == {"beta": None, "layer": 0}


def test_a_permutation_that_is_asked_for_is_read_from_its_file(terminal: Terminal) -> None:
    asked = ("lmc", "--points", "4", "--align", "none,weight", "--group", "mlp-digits-standard")
    found = terminal.records(*asked, "--columns", "align,permutation")
    assert {record["align"] for record in found} == {"none", "weight"}
    for record in found:
        assert (record["permutation"] is None) == (record["align"] == "none")
    [one] = [record["permutation"] for record in found if record["align"] == "weight"]
    assert list(one) == ["0"] and sorted(one["0"]) == list(range(len(one["0"])))
    frame = open_registry(terminal.database).results("lmc", columns=["permutation"], align="weight")
    assert one["0"] in [permutation["0"].tolist() for permutation in frame["permutation"]]


def test_a_command_reads_no_more_than_the_columns(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither whole records nor files: what is not asked for may be broken."""
    asked = ("cost", "--models", "1", "--layers", "0", "--group", "baseline")
    [whole] = terminal.records(*asked)
    monkeypatch.setattr(results, "records", None)
    monkeypatch.setattr(artifacts, "read_verified", None)
    [some] = terminal.records(*asked, "--columns", "swap_squared_median,group,kappa")
    assert some == {name: whole[name] for name in ("swap_squared_median", "group", "kappa")}
    monkeypatch.undo()
    monkeypatch.chdir(terminal.folder)
    for file in (terminal.folder / ".nid/results").iterdir():
        file.unlink()
    assert terminal.records(*asked, "--columns", "layer,lineage") == [{"layer": 0, "lineage": whole["lineage"]}]
    assert terminal(*asked, "--columns", "swap_squared", "--json") == 5


def test_columns_are_those_of_the_table_too(terminal: Terminal) -> None:
    asked = ("lmc", "--points", "3", "--group", "baseline")
    [record, *_] = terminal.records(*asked)
    assert terminal(*asked, "--columns", "model_b,group,reason") == 0
    head, first, *_ = terminal.printed.splitlines()
    assert head.split("\t") == ["model_b", "group", "reason"]
    assert first.split("\t") == [str(record["model_b"]), "baseline", "-"]


def test_an_unknown_column_names_the_others_in_their_order(terminal: Terminal) -> None:
    assert terminal("match", "--columns", "nothing") == 2
    names = [column.name for column in Match.columns()]
    assert f"choose from {', '.join(names)}" in terminal.errors


@dataclass(frozen=True, kw_only=True)
class Extra:
    """A part that was declared later."""

    weight: float = column("A weight", default=1.5)


@dataclass(frozen=True, kw_only=True)
class Grown(Match):
    """What a result has that is written after some fields were declared."""

    repaired: bool = column("Whether it was repaired", default=False)
    extra: Extra | None = nested(Extra, prefix="extra_", default=None)
    other: Extra = nested(Extra, prefix="other_")


def test_records_that_lack_a_later_field_have_its_default(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = ("match", "--group", "baseline")
    [before, *_] = terminal.records(*asked)
    monkeypatch.setitem(ANALYSES, "match", replace(ANALYSES["match"], records=(Grown,)))
    later = {"repaired": False, "extra_weight": None, "other_weight": 1.5}
    [after, *_] = terminal.records(*asked)
    assert after == before | later
    [some, *_] = terminal.records(*asked, "--columns", "repaired,optimal,other_weight,extra_weight")
    assert some == {name: after[name] for name in ("repaired", "optimal", "other_weight", "extra_weight")}
    lab = open_registry(terminal.database)
    whole, alone = lab.results("match", repaired=False), lab.results("match", columns=[*later], repaired=False)
    assert len(whole) == len(alone) > 0
    assert whole["other_weight"].tolist() == alone["other_weight"].tolist() == [1.5] * len(whole)
    assert alone["repaired"].tolist() == [False] * len(whole)


def test_a_later_field_of_one_kind_of_record_is_not_given_to_another(terminal: Terminal) -> None:
    @dataclass(frozen=True, kw_only=True)
    class Fit(RidgeCost):
        restarts: int = column("Restarts", default=1)

    grown = replace(ANALYSES["cost"], records=(MahalanobisCost, Fit))
    assert grown.defaults == {} and "restarts" in grown.whole
    with Registry(terminal.database).read() as connection:
        [mahalanobis, *_] = of_kind(connection, "cost", Selection(), grown.complete)
    assert "restarts" not in mahalanobis
    own = {column.name: 0 for column in RidgeCost.columns()}
    assert grown.complete(own) == own | {"restarts": 1}
