"""``nid train --arch MODEL``: networks of a user's own, trained as those of nid are."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from nid_cli.errors import NidError
from nid_cli.pipeline.engines import ENGINES
from nid_cli.pipeline.training.run import RunInTraining, Sent
from nid_cli.pipeline.training.tasks import Message, Saved
from tests.cli.test_train import tree
from tests.conftest import Run, Terminal, execute, records
from tests.own import module_of, words, write_code

SMALL = ("--epochs", "2", "--data", "train-size=120")
# Randomness that does not follow the seed, and a constant that does.
SEEDS = """

class Seedless(Pair):
    def __init__(self):
        super().__init__()
        own = torch.Generator()
        own.seed()
        self.scale = nn.Parameter(torch.rand(10, generator=own))

    def forward(self, x):
        return self.linear(x.flatten(1)) * self.scale


class Fourier(Pair):
    def __init__(self):
        super().__init__()
        self.register_buffer("frequencies", torch.randn(64))

    def forward(self, x):
        return self.linear(torch.cos(x.flatten(1) * self.frequencies))
"""


@pytest.fixture
def there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> Terminal:
    """A folder with code and data, without a registry."""
    write_code(tmp_path)
    np.savez(tmp_path / "words.npz", **words())
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("NID_REGISTRY", raising=False)
    # Worker processes take longer to start than these networks to train; those that are killed have them.
    monkeypatch.setitem(ENGINES, "local", ENGINES["here"])
    return Terminal(tmp_path, capsys)


@pytest.mark.parametrize("symmetry", ["standard", "w", "syre"])
def test_any_network_under_any_type_and_every_instrument(there: Terminal, symmetry: str) -> None:
    made = there.records("train", "--arch", "nets.py:Conv", "--symmetry", symmetry, *SMALL)
    assert [(r["arch"], r["model"], r["status"], r["epochs"]) for r in made] == [
        ("Conv", 1, "complete", [0, 2]),
        ("Conv", 2, "complete", [0, 2]),
    ]
    assert made[0]["seeds"]["init"] != made[1]["seeds"]["init"]
    files = tree(there.folder)
    assert len(set(files.values())) == len(files) == 4 + (symmetry != "standard")
    (there.folder / "nets.py").unlink()
    group = ("--group", made[0]["group"])
    for command in ("lmc", "match", "cost", "coherence"):
        assert there.records(command, *group), command
    again = there.records("train", *group)
    assert not any(r["trained_now"] for r in again)
    assert {name: digest for name, digest in tree(there.folder).items() if "results" not in name} == files
    assert not list(there.folder.rglob("*.bin"))


def test_the_same_training_twice_is_done_once_and_more_seeds_join(there: Terminal) -> None:
    command = ("train", "--arch", "nets.py:Vit", "--symmetry", "w", *SMALL)
    there.records(*command)
    before = tree(there.folder)
    assert not any(r["trained_now"] for r in there.records(*command)) and tree(there.folder) == before
    os.rename("nets.py", "moved.py")
    moved = ("train", "--arch", "moved.py:Vit", "--symmetry", "w", *SMALL, "--seeds", "3")
    assert [r["trained_now"] for r in there.records(*moved)] == [False, False, True]
    assert {name: digest for name, digest in tree(there.folder).items() if name in before} == before
    wider = there.records("train", "--arch", "moved.py:Vit", "--model-arg", "d=16", "--symmetry", "w", *SMALL)
    assert wider[0]["group"] == "Vit-digits-w-k1-2"


def test_another_start_makes_no_model_of_the_group(there: Terminal) -> None:
    code = Path("nets.py").read_text()
    there.records("train", "--arch", "nets.py:Vit", *SMALL)
    Path("nets.py").write_text(other_start(code))
    assert there("train", "--arch", "nets.py:Vit", *SMALL, "--seeds", "3") == 2
    assert "starts from other values of" in there.errors and "--arch-name" in there.errors
    assert [g["models"] for g in there.records("group", "list")] == [2]
    named = there.records("train", "--arch", "nets.py:Vit", "--arch-name", "ones", *SMALL, "--seeds", "3")
    assert {r["arch"] for r in named} == {"ones"}
    Path("nets.py").write_text(
        code.replace("        self.patch =", "        torch.manual_seed(1)\n        self.patch =")
    )
    there.records("train", "--arch", "nets.py:Vit", "--arch-name", "alike", *SMALL)
    assert "all models start alike" in there.errors


def other_start(code: str) -> str:
    """The same calls from other values."""
    return code.replace("torch.randn(4, d)", "torch.ones(4, d)")


def cut_off(*_arguments: Any) -> NoReturn:
    raise NidError("cut off")


def test_what_was_drawn_for_no_row_is_drawn_anew(there: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    code, command = Path("nets.py").read_text(), ("train", "--arch", "nets.py:Vit", *SMALL)
    with monkeypatch.context() as before_the_rows:
        before_the_rows.setattr("nid_cli.pipeline.training.run.prepare", cut_off)
        assert there(*command) == 1 and len(list(there.folder.rglob("start.bin"))) == 2
    drawn = next(there.folder.rglob("model-0001/start.bin")).read_bytes()
    Path("nets.py").write_text(other_start(code))
    with monkeypatch.context() as before_the_first_epoch:
        before_the_first_epoch.setattr(RunInTraining, "next", cut_off)
        assert there(*command) == 1
    known = {path: path.read_bytes() for path in there.folder.rglob("start.bin")}
    assert len(known) == 2 and drawn not in known.values()
    Path("nets.py").write_text(code)
    assert there(*command, "--seeds", "3") == 2 and "starts from other values of" in there.errors
    assert {path: path.read_bytes() for path in there.folder.rglob("start.bin")} == known
    Path("nets.py").unlink()
    done = there.records("train", "--group", "Vit-digits-standard")
    assert [(r["status"], r["trained_now"]) for r in done] == [("complete", True)] * 2
    firsts = [load_file(path) for path in there.folder.rglob("epoch-000000.safetensors")]
    assert len(firsts) == 2 and all((first["position"] == 1).all() for first in firsts)


def test_damage_after_an_interruption_is_made_good_by_the_code(
    there: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ("train", "--arch", "nets.py:Vit", *SMALL)
    take = RunInTraining.take

    def cut_after_a_checkpoint(self: RunInTraining, sent: Sent, message: Message) -> None:
        take(self, sent, message)
        if isinstance(message, Saved):
            raise NidError("cut off")

    with monkeypatch.context() as after:
        after.setattr(RunInTraining, "take", cut_after_a_checkpoint)
        assert there(*command) == 1
    for path in there.folder.rglob("start.bin"):
        path.unlink()
    for name in tree(there.folder):
        Path(name).write_bytes(b"damaged")
    assert list(there.folder.rglob("resume.bin"))
    assert there("train", "--group", "Vit-digits-standard") == 3 and "code of Vit" in there.errors
    assert [r["status"] for r in there.records(*command)] == ["complete"] * 2
    assert there("db", "check") == 0


def test_a_refused_command_leaves_a_removed_group_removed(there: Terminal) -> None:
    code, command = Path("nets.py").read_text(), ("train", "--arch", "nets.py:Vit", "--symmetry", "w", *SMALL)
    [made] = there.records(*command, "--seeds", "1")
    assert there("group", "rm", made["group"], "--yes") == 0

    def files() -> set[Path]:
        return {path for path in there.folder.rglob("*") if "__pycache__" not in path.parts}

    before = files()
    Path("nets.py").write_text(other_start(code))
    assert there(*command) == 2 and "starts from other values" in there.errors
    assert files() == before and there.records("group", "list") == []
    Path("nets.py").write_text(code)
    assert [r["trained_now"] for r in there.records(*command, "--seeds", "1")] == [False]
    assert [g["name"] for g in there.records("group", "list")] == [made["group"]]


def test_copies_of_one_trunk_grow_from_the_registry_alone(there: Terminal) -> None:
    spawned = ("train", "--arch", "nets.py:Vit", "--spawn-epoch", "1", *SMALL)
    made = there.records(*spawned)
    assert [(r["status"], r["epochs"]) for r in made] == [("complete", [0, 1, 2])] * 2
    whole = tree(there.folder)
    Path("nets.py").unlink()
    for seeds in (3, 4):  # the fourth is a copy of a trunk that is made again
        grown = there.records("train", "--group", made[0]["group"], "--seeds", str(seeds))
        assert [r["trained_now"] for r in grown] == [False] * (seeds - 1) + [True]
        assert {name: digest for name, digest in tree(there.folder).items() if name in whole} == whole
        gone = there.records("db", "gc")
        assert {r["kind"] for r in gone} == {"trunk"} and list(there.folder.rglob("trunk/*.bin"))
    [start] = there.folder.rglob("trunk/*.bin")
    start.unlink()
    assert there("train", "--group", made[0]["group"], "--seeds", "5") == 3 and "code of Vit" in there.errors


def test_a_layer_may_be_called_output(there: Terminal) -> None:
    there.records("train", "--arch", "nets.py:Output", *SMALL)
    found = there.records("coherence", "--models", "1")
    assert [r["layer"] for r in found] == ["hidden", "output", "the output"]
    assert [r["full_dimension"] for r in found] == [64, 6, 10]


@pytest.mark.parametrize("name", ["Detached", "Unwatched"])
def test_what_is_not_trained_here_may_detach(there: Terminal, name: str) -> None:
    torch.save(module_of(Path("nets.py")).Output().state_dict(), "a.pt")
    assert there("register", "a.pt", "--model", f"nets.py:{name}", "--dataset", "digits") == 0, there.errors
    assert there("symmetries", f"nets.py:{name}", "--input", "1x8x8") == 0, there.errors


@pytest.mark.parametrize("symmetry", ["standard", "syre"])
def test_dropout_norms_frozen_idle_and_repeated_layers_learn_as_their_module(there: Terminal, symmetry: str) -> None:
    made = there.records(
        "train", "--arch", "nets.py:Regular", "--symmetry", symmetry, "--epochs", "1", "--data", "train-size=120"
    )
    assert [r["status"] for r in made] == ["complete"] * 2


@pytest.mark.parametrize(("name", "data"), [("Causal", "words.npz"), ("Lazy", "digits"), ("Recurrent", "digits")])
def test_masks_of_infinities_lazy_and_recurrent_layers(there: Terminal, name: str, data: str) -> None:
    made = there.records("train", "--arch", f"nets.py:{name}", "--dataset", data, "--symmetry", "w", "--epochs", "1")
    assert [r["status"] for r in made] == ["complete"] * 2
    assert ("trained freely in lstm.weight" in there.errors) == (name == "Recurrent")


def test_a_configuration_may_hold_patterns(there: Terminal) -> None:
    Path("run.toml").write_text('arch = "vit"\nsymmetry = "w"\nkappa = "0.5,head=2"\nnum_fixed = {"blocks.*" = 1}\n')
    assert there("train", "--config", "run.toml", "--dry-run") == 0, there.errors
    said = tomllib.loads(there.printed)
    assert said["kappa"] == [0.5] * 13 + [2.0] and said["num_fixed"] == [1] * 13 + [32]


def test_tokens_in_a_file_go_on_from_the_registry_alone(there: Terminal) -> None:
    made = there.records(
        "train", "--arch", "nets.py:Tokens", "--dataset", "words.npz", "--symmetry", "w", "--epochs", "2"
    )
    files = tree(there.folder)
    for name in ("nets.py", "words.npz"):
        Path(name).unlink()
    last = next(p for p in sorted(there.folder.rglob("epoch-000002.safetensors")))
    assert there.records("train", "--group", made[0]["group"])[0]["trained_now"] is False
    assert last.exists() and tree(there.folder) == files


def test_a_killed_training_goes_on_without_the_code_to_the_same_bytes(tmp_path: Path) -> None:
    arguments = ("train", "--arch", "nets.py:Vit", "--symmetry", "syre", "--epochs", "20", "--save-every", "2")
    arguments += ("--data", "train-size=400", "--schedule", "cosine", "--warmup", "3", "--clip", "1")
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    for folder in (whole, cut):
        folder.mkdir()
        write_code(folder)
    assert execute(whole, *arguments).returncode == 0
    process = subprocess.Popen(
        [sys.executable, "-m", "nid_cli", *arguments], cwd=cut, start_new_session=True, stderr=subprocess.DEVNULL
    )
    while len(tree(cut)) < 7 and process.poll() is None:
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    (cut / "nets.py").unlink()
    done = records(execute(cut, "train", "--group", "Vit-digits-syre-k1", "--json"))  # as far apart as they are
    assert any(r["trained_now"] for r in done) and all(r["status"] == "complete" for r in done)
    assert tree(cut) == tree(whole) and not list(cut.rglob("*.bin"))
    refused = execute(cut, "train", "--group", "Vit-digits-syre-k1", "--seeds", "3")
    assert refused.returncode == 3 and "code of Vit" in refused.stderr


def test_a_dry_run_says_the_recipe_and_can_be_read_back(there: Terminal) -> None:
    command = ("train", "--arch", "nets.py:Conv", "--model-arg", "width=4", "--symmetry", "w", "--epochs", "20")
    by_name = ("--num-fixed", "conv*=0.5,head=1", "--kappa", "0.5,stem=2")
    assert there(*command, *by_name, "--dry-run") == 0
    said = tomllib.loads(there.printed)
    assert said["arch"] == "nets.py:Conv" and said["model_arg"] == {"width": 4}
    assert (said["optimizer"], said["schedule"], said["warmup"], said["lr"]) == ("adamw", "cosine", 2.0, 1e-3)
    assert said["kappa"] == [2.0, 0.5, 0.5, 0.5] and said["num_fixed"] == [1, 18, 18, 1]
    assert not (there.folder / ".nid").exists()
    Path("run.toml").write_text(there.printed)
    assert there("train", "--config", "run.toml", "--dry-run") == 0 and tomllib.loads(there.printed) == said


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--arch", "nets.py:Conv", "--symmetry", "w", "--kappa", "blocks.*=1"), "no layer is called 'blocks.*'"),
        (("--arch", "nets.py:Conv", "--symmetry", "w", "--kappa", "1,2"), "one for each of the 4 layers, not 2"),
        (("--arch", "nets.py:Conv", "--symmetry", "w", "--num-fixed", "1,2,head=3"), "one number for the others"),
        (("--arch", "nets.py:Conv", "--symmetry", "w", "--num-fixed", "head=x"), "not 'head=x'"),
        (("--arch", "nets.py:Conv", "--symmetry", "w", "--num-fixed", "head=6"), "must be smaller than the 6 inputs"),
        (("--arch", "nets.py:Conv", "--symmetry", "sigma"), "gates in the place of activations"),
        (("--arch", "nets.py:Conv", "--width", "3"), "width is for the architectures of nid"),
        (("--arch", "nets.py:Conv", "--model-arg", "classes=4"), "has 4 outputs"),
        (("--arch", "nets.py:Bare"), "no weighted layer"),
        (("--arch", "nets.py:frozen", "--symmetry", "w"), "all of its parameters are frozen"),
        (("--arch", "nets.py:Output", "--arch-name", "mlp"), "is the name of an architecture of nid"),
        (("--arch", "nets.py:Detached"), "hidden.weight does not learn"),
        (("--arch", "nets.py:Unwatched"), "hidden.weight does not learn"),
        (("--arch", "nets.py:Overwritten"), "no gradients to train it by; torch says: one of the variables"),
        (("--arch", "nets.py:Seedless"), "draws other values of scale each time from the same seed"),
        (("--arch", "nets.py:Fourier"), "frequencies is a constant of the network, but another one in each model"),
        (("--arch", "nets.py:Tokens"), "does not run on inputs of 1x8x8"),
        (
            ("--arch", "nets.py:Tokens", "--model-arg", "vocabulary=9", "--dataset", "words.npz"),
            "does not run on inputs of 5",
        ),
        (
            (
                "--arch",
                "nets.py:missing",
            ),
            "has no missing",
        ),
        (("--arch", "mlp", "--model-arg", "d=3"), "--model-arg goes with --arch FILE.py:FUNCTION"),
        (("--schedule", "cosine", "--milestones", "3"), "has no milestones"),
        (("--schedule", "linear"), "unknown schedule 'linear'"),
        (("--clip", "0"), "clip must be a number above 0"),
        (("--warmup", "-1"), "warmup must be a number that is not negative"),
        (("--heads", "2"), "mlp has no heads"),
        (("--group", "nothing"), "there is no registry"),
        (("--group", "nothing", "--epochs", "3"), "--epochs would change it"),
    ],
)
def test_what_cannot_be_is_said_and_leaves_nothing(there: Terminal, arguments: tuple[str, ...], sentence: str) -> None:
    code = Path("nets.py")
    code.write_text(
        code.read_text()
        + "\n\nclass Bare(nn.Module):\n    def __init__(self):\n        super().__init__()\n"
        + "        self.scale = nn.Parameter(torch.ones(10))\n\n"
        + "    def forward(self, x):\n        return x.flatten(1)[:, :10] * self.scale\n"
        + SEEDS
    )
    assert there("train", *arguments) in (2, 3), there.errors
    assert sentence in there.errors and there.errors.count("error: ") == 1 and "Traceback" not in there.errors
    assert not (there.folder / ".nid").exists()


def test_a_group_that_was_registered_has_no_training_to_go_on_with(nid: Run, tmp_path: Path) -> None:
    code = module_of(write_code(tmp_path))
    torch.save(code.Conv().state_dict(), tmp_path / "a.pt")
    assert nid("register", "a.pt", "--model", "nets.py:Conv", "--dataset", "digits").returncode == 0
    done = nid("train", "--group", "Conv-digits-standard")
    assert done.returncode == 2 and "were not trained here" in done.stderr
