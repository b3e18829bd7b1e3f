"""Others' values beside ours."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nid_cli.errors import NotFoundError, UsageError
from nid_cli.pipeline.figures.overlay import read
from nid_cli.plots import lmc, match, style
from nid_cli.plots.overlay import Overlay
from tests.plots import made


def crosses(axis: Any) -> list[Any]:
    return [line for line in axis.get_lines() if line.get_marker() in ("x", "+")]


def test_curves_of_others_are_crosses_in_the_colour_of_their_group() -> None:
    theirs = lmc.table([made.pair(made.group(kappa=k), 7.0) for k in (0.0, 1.0)])
    overlay = Overlay("lab", theirs)
    ours = [made.pair(made.group(), h, a) for h in (1.0, 3.0) for a in ("none", "activation")]
    figure = lmc.draw(ours, overlay=overlay)
    drawn = [crosses(axis) for axis in figure.axes]
    assert [len(found) for found in drawn] == [1, 0, 1, 0]  # not kappa 0, which is not ours; not aligned ones
    [accuracy], [loss] = drawn[0], drawn[2]
    np.testing.assert_allclose(accuracy.get_ydata(), [100, 96.5, 93, 96.5, 100])
    np.testing.assert_allclose(loss.get_ydata(), [0, 0.35, 0.7, 0.35, 0])
    assert accuracy.get_color() == style.look(ours[0])["color"] and accuracy.get_linestyle() == "None"
    assert "lab" in [text.get_text() for text in figure.legends[0].get_texts()]
    assert [row.get("source") for row in lmc.table(ours, overlay=overlay)] == [None, None, "lab"]


def test_objectives_of_others_stand_in_their_place_on_the_axis() -> None:
    theirs = match.table([made.match(made.group(kappa=k), 0, 0.9, 0.5 * k) for k in (0.0, 0.1, 1.0)])
    ours = [made.match(made.group(kappa=k), layer, 0.8, 0.4) for k in (0.0, 1.0) for layer in (0, 1)]
    first, second, _ = match.draw(ours, overlay=Overlay("lab", theirs)).axes
    found = {(line.get_marker(), *map(float, line.get_xydata()[0])) for line in crosses(first)}
    assert found == {("x", k, 0.9) for k in (0, 0.1, 1)} | {("+", k, 0.5 * k) for k in (0, 0.1, 1)}
    assert crosses(second) == []
    assert [t.get_text() for t in first.get_xticklabels()] == ["0", ".1", "1"]  # the axis has room for all


def test_levels_of_others_lie_on_their_level() -> None:
    level = [made.match(made.group("standard", None), 0, 0.9, 0.1)]
    ours = [*level, made.match(made.group(), 0, 0.8, 0.4)]
    axis = match.draw(ours, overlay=Overlay("lab", match.table(level))).axes[0]
    assert {line.get_marker(): set(line.get_ydata()) for line in crosses(axis)} == {"x": {0.9}, "+": {0.1}}


def test_values_of_nothing_that_is_drawn_are_refused() -> None:
    with pytest.raises(UsageError, match="lab has no values"):
        lmc.draw([made.pair(made.group(), 1.0)], overlay=Overlay("lab", lmc.table([made.pair(made.group("syre"), 1)])))


def test_values_of_another_epoch_similarity_or_place_are_not_laid_over_ours() -> None:
    curve = made.pair(made.group(epoch=5), 1.0)
    with pytest.raises(UsageError):
        lmc.draw([curve], overlay=Overlay("lab", lmc.table([curve | {"epoch": 10}])))
    ours = made.match(made.group(), 0, 0.9, 0.4)
    for other in ({"epoch": 10}, {"similarity": "dot"}, {"at": "post_norm"}):
        with pytest.raises(UsageError):
            match.draw([ours], overlay=Overlay("lab", match.table([ours | other])))
    over_epochs = Overlay("lab", match.table([ours | {"epoch": 10}], "epoch"))
    assert len(crosses(match.draw([ours], "epoch", over_epochs).axes[0])) == 2


def matched(**changes: Any) -> str:
    row = {"arch": "mlp", "dataset": "digits", "symmetry": "w", "kappa": 1.0, "epoch": 5, "layer": 0}
    row |= {"at": "post_activation", "similarity": "pearson", "against": "kappa", "x": 1.0}
    row |= {"optimal_mean": 0.9, "identity_mean": 0.8} | changes
    return json.dumps({"schema": "nid.plot.match/1", "records": [{k: v for k, v in row.items() if v != "gone"}]})


@pytest.mark.parametrize("change", [{"identity_mean": "gone"}, {"x": "1"}, {"x": [1.0]}, {"optimal_mean": None}])
def test_objectives_that_are_no_numbers_are_refused(change: dict[str, Any], tmp_path: Path) -> None:
    file = tmp_path / "other.json"
    file.write_text(matched())
    assert read("match", str(file)).rows[0]["optimal_mean"] == 0.9
    file.write_text(matched(**change))
    with pytest.raises(UsageError, match="--overlay"):
        read("match", str(file))


def test_the_papers_values_are_those_of_the_authors_figures(shared: Path) -> None:
    authors = json.loads((shared / "paper/authors_figures.json").read_text())
    names = {("standard", None): "MLP", ("w", 0.0): "W-MLP/kappa=0", ("w", 1.0): "W-MLP/kappa=1"}
    names |= {("syre", 1.0): "syre-MLP/kappa=1"}
    curves = {(r["symmetry"], r["kappa"]): r for r in read("lmc", "paper").rows if r["arch"] == "mlp"}
    assert curves.keys() == names.keys()
    for key, row in curves.items():
        assert row["train_accuracy_mean"] == authors["lmc_mnist_mlp_train_accuracy"][names[key]]
        assert row["lambdas"] == authors["lmc_mnist_mlp_train_accuracy"]["lambda"]
    rows = read("match", "paper").rows
    for against, name in (("kappa", "match_kappa_sweep"), ("epoch", "match_epochs")):
        own = [row for row in rows if row["against"] == against]
        assert [row["x"] for row in own] == authors[name][against]
        for kind in ("optimal", "identity"):
            assert [row[f"{kind}_mean"] for row in own] == authors[name][kind]


def document(**changes: Any) -> dict[str, Any]:
    row = {"arch": "mlp", "dataset": "digits", "symmetry": "w", "kappa": 1.0, "epoch": 5}
    row |= {"align": "none", "split": "train"}
    row |= {"lambdas": [0.0, 1.0], "train_accuracy_mean": [99.0, 98.0]}
    return {"schema": "nid.plot.lmc/1", "records": [row | changes]}


def test_a_document_of_rows_is_read(tmp_path: Path) -> None:
    (tmp_path / "lab $1$.json").write_text(json.dumps(document()))
    overlay = read("lmc", str(tmp_path / "lab $1$.json"))
    assert overlay.source == r"lab \$1\$" and overlay.rows[0]["train_accuracy_mean"] == [99.0, 98.0]


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[" * 100_000,
        "[]",
        "{}",
        '{"schema": "nid.plot.match/1", "records": []}',
        '{"schema": "nid.plot.lmc/1", "records": [1]}',
        '{"schema": "nid.plot.lmc/1", "records": 1}',
        json.dumps(document(symmetry="x")),
        json.dumps(document(kappa=None)),
        json.dumps(document(kappa="1")),
        json.dumps(document(lambdas=["a", "b"])),
        json.dumps(document(lambdas=[0.0, 0.5, 1.0])),
        json.dumps(document(train_accuracy_mean=[float("nan"), 1.0])),
        json.dumps(document(train_accuracy_mean=None)),
        json.dumps(document(train_accuracy_mean=["1", "2"])),
        json.dumps(document(split="test")),
        json.dumps(document(lambdas=0.5)),
        json.dumps(document(lambdas=[], train_accuracy_mean=[])),
        json.dumps(document(lambdas=[[0.0, 1.0]], train_accuracy_mean=[[1.0, 2.0]])),
    ],
)
def test_other_files_are_refused_with_a_sentence(content: str, tmp_path: Path) -> None:
    file = tmp_path / "other.json"
    file.write_text(content)
    with pytest.raises(UsageError, match="--overlay"):
        read("lmc", str(file))
    with pytest.raises(NotFoundError):
        read("lmc", str(tmp_path / "none.json"))
