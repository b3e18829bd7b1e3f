"""``nid align`` through the real command line: files that hold B's network, permuted to match A."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from nid_cli.files import file_sha256
from tests.conftest import Terminal, execute, records


@pytest.fixture
def copy(lab: Path, tmp_path: Path) -> Path:
    shutil.copytree(lab / ".nid", tmp_path / ".nid")
    return tmp_path


def checkpoint(folder: Path, group: str, model: int) -> dict[str, torch.Tensor]:
    [shown] = records(execute(folder, "group", "show", group, "--json"))
    [own] = [m for m in shown["members"] if m["model"] == model]
    return load_file(folder / ".nid" / own["checkpoints"][-1]["path"])


def permuted(state: dict[str, torch.Tensor], spaces: dict) -> dict[str, torch.Tensor]:
    """An MLP with layer norms, reordered layer by layer."""
    moved = dict(state)
    for layer, space in spaces.items():
        index, after = torch.tensor(space["permutation"]), f"linear.{int(layer) + 1}.weight"
        for name in (f"linear.{layer}.weight", f"linear.{layer}.bias", f"norm.{layer}.weight", f"norm.{layer}.bias"):
            moved[name] = moved[name][index]
        moved[after] = moved[after][:, index]
    return moved


@pytest.mark.parametrize("align", ["activation", "weight"])
def test_files_hold_the_second_model_permuted(copy: Path, align: str) -> None:
    done = execute(
        copy, "align", "mlp-digits-standard", "--models", "2,1", "--align", align,
        "--out", "b.safetensors", "--permutation", "p.json", "--json",
    )  # fmt: skip
    [record] = records(done)
    told = json.loads((copy / "p.json").read_text())
    assert json.loads(done.stdout)["schema"] == "nid.align/1" and told["schema"] == "nid.permutation/1"
    a, b = (checkpoint(copy, "mlp-digits-standard", model) for model in (2, 1))
    expected, found = permuted(b, told["spaces"]), load_file(copy / "b.safetensors")
    assert found.keys() == b.keys() and all(torch.equal(found[name], expected[name]) for name in b)

    def distance(one: dict, two: dict) -> float:
        return sum(float((one[n].double() - two[n].double()).square().sum()) for n in one) ** 0.5

    assert record["distance_before"] == pytest.approx(distance(a, b))
    assert record["distance_after"] == pytest.approx(distance(a, found))
    assert record["distance_after"] < record["distance_before"] and 0 < record["moved"] <= 1
    assert record["sha256"] == told["sha256"] == file_sha256(copy / "b.safetensors")
    assert record["permutation_sha256"] == file_sha256(copy / "p.json")
    assert told["command"][:2] == ["nid", "align"] and told["versions"]["nid"] and told["models"] == [2, 1]
    assert len({own["sha256"] for own in told["inputs"]}) == 2


def test_a_pt_file_holds_tensors_alone_and_is_written_again(copy: Path) -> None:
    for epoch in ("0", "4"):
        done = execute(
            copy, "align", "--group", "mlp-digits-w-k1", "--epoch", epoch, "--out", "b.pt", "--align", "weight"
        )
        assert done.returncode == 0 and "b.pt" in done.stdout
    found = torch.load(copy / "b.pt", weights_only=True)
    assert found.keys() == checkpoint(copy, "mlp-digits-w-k1", 2).keys()


GOOD = ("align", "baseline", "--out", "b.pt")


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("align", "baseline"), 2, "where to write"),
        (("align", "--out", "b.pt"), 2, "name one group"),
        (("align", "baseline", "--group", "baseline", "--out", "b.pt"), 2, "name one group"),
        (("align", "nowhere", "--out", "b.pt"), 3, "nowhere"),
        ((*GOOD, "--models", "1,9"), 3, "no model 9"),
        ((*GOOD, "--models", "1,1"), 2, "with itself"),
        ((*GOOD, "--models", "1-2"), 2, "two like 1,2"),
        ((*GOOD, "--epoch", "77"), 3, "epoch 77"),
        ((*GOOD, "--align", "none"), 2, "unknown alignment"),
        (("align", "baseline", "--out", "b.zip"), 2, "must end in"),
        (("align", "baseline", "--out", "no/b.pt"), 2, "does not exist"),
        ((*GOOD, "--permutation", "p.txt"), 2, "must end in .json"),
    ],
)
def test_bad_input_is_said_and_writes_nothing(
    terminal: Terminal, arguments: tuple[str, ...], code: int, said: str
) -> None:
    assert terminal(*arguments) == code
    assert said in terminal.errors and not list(terminal.folder.glob("b.*"))


def test_sigma_groups_cannot_be_aligned(copy: Path) -> None:
    done = execute(copy, "align", "mlp-digits-sigma", "--out", "b.pt")
    assert done.returncode == 2 and "gates" in done.stderr and not (copy / "b.pt").exists()
