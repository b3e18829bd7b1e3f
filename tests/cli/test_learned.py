"""``--align learned`` through the real command line."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from safetensors.torch import load_file

from nid_cli import open_registry
from tests.conftest import execute, records

STEPS = ("--learn-steps", "60")
LEARNED = {
    "align": "learned", "points": 3, "restarts": 5, "starts": "anchored", "seed": 0, "learn_steps": 60,
    "learning_rate": 0.01, "momentum": 0.9, "batch_size": 256, "judged_every": 10,
}  # fmt: skip


@pytest.fixture(scope="module")
def measured(lab: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the lab where standard and sigma networks are measured by weights and learned."""
    folder = tmp_path_factory.mktemp("learned")
    shutil.copytree(lab / ".nid", folder / ".nid")
    done = execute(
        folder, "lmc", "--symmetry", "standard", "--symmetry", "sigma", "--align", "weight,learned", "--points", "3",
        *STEPS, "--export", "first.json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return folder


def exported(folder: Path, name: str = "first.json") -> list[dict]:
    return json.loads((folder / name).read_text())["records"]


def permutations(folder: Path) -> dict[tuple[int, int], dict[str, list[int]]]:
    """Those of standard networks with 60 steps, by pair."""
    frame = open_registry(folder / ".nid/registry.db").results("lmc", symmetry="standard", align="learned")
    rows = [row for row in frame.to_dict("records") if row["lineage"]["parameters"]["learn_steps"] == 60]
    return {
        (row["model_a"], row["model_b"]): {layer: own.tolist() for layer, own in row["permutation"].items()}
        for row in rows
    }


def test_its_midpoint_is_never_worse_in_training_and_narrow_networks_gain(measured: Path) -> None:
    found = [r for r in exported(measured) if r["symmetry"] == "standard"]
    pairs = {(r["model_a"], r["model_b"], r["align"]): r["train_loss"][1] for r in found}
    gains = [pairs[a, b, "weight"] - pairs[a, b, "learned"] for a, b, align in pairs if align == "learned"]
    assert len(gains) == 3 and min(gains) > -1e-6 and max(gains) > 1e-3
    sigma = [r for r in exported(measured) if r["symmetry"] == "sigma"]
    assert {r["status"] for r in sigma} == {"not_applicable"} and len(sigma) == 6


def test_its_settings_are_its_key_and_other_keys_are_what_they_were(measured: Path) -> None:
    found = exported(measured)
    keys = {r["align"]: r["lineage"]["parameters"] for r in found}
    assert keys["learned"] == LEARNED
    assert keys["weight"] == {"align": "weight", "points": 3, "restarts": 5, "starts": "anchored"}
    # Recorded already: nothing is computed, whatever steps another call has.
    known = ("lmc", "--symmetry", "standard", "--points", "3", "--json")
    again = records(execute(measured, *known, "--align", "weight,learned", *STEPS))
    assert [r["result_id"] for r in again] == [r["result_id"] for r in found if r["symmetry"] == "standard"]
    fewer = records(execute(measured, *known, "--align", "learned", "--learn-steps", "3", "--pairs", "1-2"))
    assert fewer[0]["result_id"] not in {r["result_id"] for r in found}
    assert fewer[0]["lineage"]["parameters"] == LEARNED | {"learn_steps": 3}


def test_the_same_again_is_the_same(measured: Path) -> None:
    chosen, before = ("--symmetry", "standard", "--align", "learned", "--points", "3", *STEPS), permutations(measured)
    assert execute(measured, "lmc", *chosen, "--force", "--export", "again.json").returncode == 0
    assert permutations(measured) == before and len(before) == 3
    first = {r["result_id"]: r for r in exported(measured)}
    for r in exported(measured, "again.json"):
        assert r["lineage"]["created_at"] > first[r["result_id"]]["lineage"]["created_at"]
        assert r["train_loss"] == first[r["result_id"]]["train_loss"]


def test_figures_draw_it(measured: Path) -> None:
    for figure in (("lmc",), ("barrier", "--against", "epoch")):
        chosen = ("--symmetry", "standard", "--align", "weight,learned", "--points", "3", *STEPS, "--epochs", "4")
        done = execute(measured, "plot", *figure, *chosen, "--out", f"{figure[0]}.svg", "--export", "rows.json")
        assert done.returncode == 0, done.stderr
        assert {row["align"] for row in exported(measured, "rows.json")} == {"weight", "learned"}
    missing = execute(measured, "plot", "lmc", "--align", "learned", "--learn-steps", "7", "--out", "a.svg")
    assert missing.returncode == 3 and "nid lmc --align learned --learn-steps 7" in missing.stderr


def test_similarity_takes_it(measured: Path) -> None:
    chosen = ("--symmetry", "standard", "--pairs", "1-2", "--align", "weight,learned", *STEPS, "--json")
    found = {r["align"]: r for r in records(execute(measured, "similarity", *chosen))}
    assert found["learned"]["lineage"]["parameters"]["learn_steps"] == 60
    assert "learn_steps" not in found["weight"]["lineage"]["parameters"]
    assert found["learned"]["test_agreement"] == found["weight"]["test_agreement"]


def test_align_writes_what_lmc_measured(measured: Path) -> None:
    done = execute(
        measured, "align", "mlp-digits-standard", "--models", "1,2", "--align", "learned", *STEPS,
        "--out", "b.safetensors", "--permutation", "p.json", "--json",
    )  # fmt: skip
    [record] = records(done)
    told = json.loads((measured / "p.json").read_text())
    assert record["align"] == "learned" and told["parameters"]["learn_steps"] == 60
    spaces = {label: space["permutation"] for label, space in told["spaces"].items()}
    assert spaces == permutations(measured)[1, 2] and load_file(measured / "b.safetensors")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("lmc", "--align", "learned", "--learn-steps", "0"), "learn-steps must lie between 1 and 100000, not 0"),
        (("lmc", "--learn-steps", "5"), "--learn-steps belongs to the alignment learned"),
        (("similarity", "--align", "weight", "--learn-steps", "5"), "--learn-steps belongs to the alignment learned"),
        (("lmc", "--align", "learnt"), "did you mean learned?"),
        (
            ("align", "mlp-digits-standard", "--align", "weight", "--learn-steps", "5", "--out", "b.pt"),
            "--learn-steps belongs to the alignment learned, not to weight",
        ),
        (
            ("align", "mlp-digits-standard", "--align", "learned", "--learn-steps", "0", "--out", "b.pt"),
            "learn-steps must lie between 1 and 100000, not 0",
        ),
        (("align", "mlp-digits-sigma", "--align", "learned", "--out", "b.pt"), "cannot be aligned"),
    ],
)
def test_bad_input_is_a_sentence(measured: Path, arguments: tuple[str, ...], said: str) -> None:
    done = execute(measured, *arguments)
    assert done.returncode == 2 and said in done.stderr and "Traceback" not in done.stderr
