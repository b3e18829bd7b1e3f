"""The registry in a notebook: the same records as the command line's, as data frames, and models as functions."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from nid_cli import open_registry
from nid_cli.cli.app import run
from nid_cli.data.load import load
from nid_cli.errors import NidError, NotFoundError, UsageError
from tests.conftest import Terminal


@pytest.fixture(scope="module")
def analysed(lab: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the common folder of models, with some results."""
    folder = tmp_path_factory.mktemp("notebook")
    shutil.copytree(lab / ".nid", folder / ".nid")
    registry = str(folder / ".nid/registry.db")
    costs = ["cost", "--models", "1", "--layers", "0"]
    ridge = [*costs, "--symmetry", "w", "--method", "ridge", "--betas", "1", "--neurons", "2", "--iterations", "2"]
    for command in (["lmc", "--pairs", "1-2", "--points", "3"], costs, ridge):
        assert run([*command, "--registry", registry]) == 0
    return folder


def test_results_are_the_records_of_the_command_line(analysed: Path, tmp_path: Path) -> None:
    target, registry = tmp_path / "out.json", str(analysed / ".nid/registry.db")
    assert run(["lmc", "--pairs", "1-2", "--points", "3", "--registry", registry, "--export", str(target)]) == 0
    expected = {r["result_id"]: r for r in json.loads(target.read_text())["records"]}
    frame = open_registry(analysed).results("lmc")
    assert set(expected) <= set(frame["result_id"])
    for row in frame[frame["result_id"].isin(list(expected))].to_dict("records"):
        assert row["train_loss"] == expected[row["result_id"]]["train_loss"]
        assert row["lineage"]["checkpoints"] == expected[row["result_id"]]["lineage"]["checkpoints"]


def test_selectors_and_fields_choose(analysed: Path) -> None:
    archive = open_registry(analysed / ".nid")
    frame = archive.results("lmc", symmetry="w", kappa=1, align="none")
    assert len(frame) >= 1 and set(frame["symmetry"]) == {"w"} and set(frame["align"]) == {"none"}
    assert set(archive.results("lmc", symmetry=["w", "syre"])["symmetry"]) == {"w", "syre"}
    assert list(archive.groups(symmetry="w")["models"]) == [3]


def test_a_list_of_values_means_any_of_them(analysed: Path) -> None:
    archive = open_registry(analysed)
    assert set(archive.results("lmc", align=["none", "weight"])["align"]) == {"none"}
    assert set(archive.results("lmc", model_a=range(5), epoch={4, 5})["model_a"]) == {1}
    curves = archive.results("lmc", align="none")["lambdas"]
    for lambdas in ([0.0, 0.5, 1.0], [[0.0, 1.0], [0.0, 0.5, 1.0]]):  # fields that are lists themselves
        assert list(archive.results("lmc", align="none", lambdas=lambdas)["lambdas"]) == list(curves) != []


def test_where_nothing_is_so_the_columns_stay(analysed: Path) -> None:
    archive = open_registry(analysed)
    for analysis, field in (("lmc", {"epoch": 123}), ("cost", {"layer": [7, 8]}), ("cost", {"method": "none"})):
        frame = archive.results(analysis, **field)
        assert frame.empty and list(frame.columns) == list(archive.results(analysis).columns)
    with pytest.raises(UsageError):
        archive.results("lmc", epoch=123, aline="none")


def test_a_group_without_results_has_the_columns_of_the_others(terminal: Terminal) -> None:
    archive = open_registry(terminal.database)
    frame = archive.results("lmc", symmetry="syre")
    assert frame.empty and list(frame.columns) == list(archive.results("lmc").columns)
    assert archive.results("coherence").shape == archive.results("synthetic").shape == (0, 0)


def test_matrices_are_arrays(analysed: Path) -> None:
    frame = open_registry(analysed).results("cost", symmetry="w", layer=0)
    swap = frame.loc[0, "swap_squared"]
    assert isinstance(swap, np.ndarray) and swap.shape == (24, 24) and np.allclose(swap, swap.T)


def test_models_are_functions_of_normalized_inputs(analysed: Path) -> None:
    archive = open_registry(analysed)
    [group] = archive.groups(symmetry="sigma")["name"]
    model = archive.load(group, 1)
    data = load("digits", {}, Path("/nonexistent"))
    x, y = next(data.batches("test", 400))
    right = (model(x).argmax(1) == y).double().mean()
    assert right > 0.5 and not model(x).requires_grad
    first = archive.load(group, 1, epoch=0)
    assert not torch.equal(first.state["linear.0.weight"], model.state["linear.0.weight"])


def test_what_cannot_be_is_one_sentence(analysed: Path, tmp_path: Path) -> None:
    archive = open_registry(analysed)
    for call, error in (
        (lambda: archive.results("lmcs"), UsageError),
        (lambda: archive.results("lmc", aline="none"), UsageError),
        (lambda: archive.results("lmc", kappa="much"), UsageError),
        (lambda: archive.groups(colour="red"), UsageError),
        (lambda: archive.results("synthetic", symmetry="w"), UsageError),
        (lambda: archive.results("lmc", group="nobody"), NotFoundError),
        (lambda: archive.load("nobody", 1), NotFoundError),
        (lambda: open_registry(tmp_path / "none.db"), NidError),
    ):
        with pytest.raises(error):
            call()


def test_importing_the_package_loads_nothing_heavy() -> None:
    code = "import sys, nid_cli; print([m for m in ('torch', 'pandas', 'sqlalchemy') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr
