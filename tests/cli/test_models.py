"""``nid register`` of state dictionaries, and everything that follows on a machine without the user's code."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from tests.conftest import Terminal
from tests.own import module_of, save_states, words, write_code

MODELS = {"Conv": "digits", "Vit": "digits", "Tokens": "words.npz"}


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Code, checkpoints and data; three registered groups."""
    from nid_cli.cli.app import run

    folder = tmp_path_factory.mktemp("workshop")
    code = module_of(write_code(folder))
    np.savez(folder / "words.npz", **words())
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.delenv("NID_REGISTRY", raising=False)
        for name, dataset in MODELS.items():
            paths = [path.name for path in save_states(folder, code, name)]
            assert run(["register", *paths, "--model", f"nets.py:{name}", "--dataset", dataset, "--epoch", "3"]) == 0
    return folder


@pytest.fixture
def there(workshop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> Terminal:
    """A copy of the workshop."""
    folder = shutil.copytree(workshop, tmp_path / "copy")
    monkeypatch.chdir(folder)
    monkeypatch.delenv("NID_REGISTRY", raising=False)
    return Terminal(folder, capsys)


def refused(there: Terminal, *arguments: str, code: int = 2) -> str:
    """The sentence of a command that must be refused, which leaves the registry as it was."""
    before = {p: p.read_bytes() for p in there.folder.rglob("*") if p.is_file() and "registry.db" not in p.name}
    groups = there.records("group", "list")
    assert there(*arguments) == code, there.errors
    said = there.errors
    assert "Traceback" not in said and said.count("error: ") == 1
    assert there.records("group", "list") == groups
    left = {p: p.read_bytes() for p in there.folder.rglob("*") if p.is_file() and "registry.db" not in p.name}
    assert {p: c for p, c in left.items() if "locks" not in str(p)} == {
        p: c for p, c in before.items() if "locks" not in str(p)
    }
    return said


def test_a_registered_state_is_the_modules(there: Terminal) -> None:
    from nid_cli.notebook import open_registry

    code, lab = module_of(there.folder / "nets.py"), open_registry()
    for name, x in (("Conv", torch.randn(4, 1, 8, 8)), ("Tokens", torch.randint(12, (4, 5)))):
        for number in (1, 2):
            module = getattr(code, name)()
            module.load_state_dict(torch.load(f"{name.lower()}{number - 1}.pt", weights_only=True))
            found = lab.load(f"{name}-{MODELS[name].removesuffix('.npz')}-standard", number)(x)
            with torch.no_grad():
                torch.testing.assert_close(found, module.eval()(x), rtol=1e-5, atol=1e-6)


def test_elsewhere_without_the_code_every_instrument_works(there: Terminal, tmp_path: Path) -> None:
    away = tmp_path / "away"
    away.mkdir()
    names = [record["name"] for record in there.records("group", "list")]
    assert names == ["Conv-digits-standard", "Vit-digits-standard", "Tokens-words-standard"]
    for name in names:
        assert there("group", "export", name, str(away / f"{name}.tar")) == 0, there.errors
    registry = ("--registry", str(away / ".nid/registry.db"))
    shutil.rmtree(there.folder / ".nid")
    for path in there.folder.iterdir():
        path.unlink()
    assert there("register", *(str(away / f"{name}.tar") for name in names), *registry) == 0, there.errors
    curves = there.records("lmc", "--align", "none,activation,weight", "--points", "2", *registry)
    assert len(curves) == 9 and all(curve["status"] == "ok" for curve in curves)
    reset = there.records("lmc", "--align", "activation", "--points", "2", "--bn-reset", "--arch", "Conv", *registry)
    assert len(reset) == 1
    layers = {record["layer"] for record in there.records("match", "--random", "3", *registry)}
    assert {"conv1", "layer.linear1"} <= layers
    assert {r["layer"] for r in there.records("match", "--layers", "conv1", "--arch", "Conv", *registry)} == {"conv1"}
    assert {"layer.self_attn.in_proj", "stem"} <= {r["layer"] for r in there.records("cost", *registry)}
    assert {"output", "head"} <= {r["layer"] for r in there.records("coherence", *registry)}
    one = there.records("coherence", "--layers", "output", "--arch", "Vit", *registry)
    assert [r["layer"] for r in one] == ["output", "output"]
    for figure in ("lmc", "summary"):
        options = ("--group", "Tokens-words-standard", "--compute", *registry)
        assert there("plot", figure, *options, "--out", str(away / f"{figure}.svg")) == 0, there.errors
    assert there("plot", "coherence", "--arch", "Conv", *registry, "--out", str(away / "c.png")) == 0, there.errors
    assert there("symmetries", "Vit-digits-standard", *registry) == 0, there.errors
    assert there("db", "check", *registry) == 0, there.errors
    assert there.records("db", "gc", "--dry-run", *registry) == []
    shown = there.records("group", "show", "Conv-digits-standard", *registry)[0]["settings"]
    assert shown["optimizer"] == "external" and shown["lr"] is None and len(shown["graph"]) == 64


def test_sites_and_neurons_that_a_network_lacks_are_said(there: Terminal) -> None:
    assert there("match", "--arch", "Conv", "--at", "post_activation", "--layers", "0", "--random", "0") == 0, (
        there.errors
    )
    assert there("match", "--arch", "Vit", "--at", "post_norm", "--layers", "layer.linear1") == 2
    assert "not recorded at post_norm" in there.errors and "--at post_linear,post_norm,post_activation" in there.errors
    assert there("match", "--arch", "Conv", "--layers", "9") == 2
    assert "there is no space 9" in there.errors and "or stream.1, conv1" in there.errors


def test_the_same_files_again_add_nothing_and_initializations_join_them(there: Terminal) -> None:
    command = ("register", "conv0.pt", "conv1.pt", "--model", "nets.py:Conv", "--dataset", "digits", "--epoch", "3")
    again = there.records(*command)
    assert [(r["status"], r["models"], r["new_checkpoints"]) for r in again] == [("known", [1], 0), ("known", [2], 0)]
    save_states(there.folder, module_of(there.folder / "nets.py"), "Conv", seeds=4)
    born = there.records(*command, "--init", "conv2.pt", "--init", "conv3.pt")
    assert [(r["status"], r["epochs"]) for r in born] == [("imported", [0, 3])] * 2
    (there.folder / "nets.py").unlink()
    group = ("--group", "Conv-digits-standard")
    [third] = there.records("register", "conv2.pt", *group, "--epoch", "3")
    assert (third["status"], third["models"]) == ("imported", [3])
    [known] = there.records("register", "conv2.pt", "--model", group[1], "--epoch", "3")
    assert known["status"] == "known"
    assert "at epoch 3" in refused(there, "register", "conv2.pt", *group, "--epoch", "4")


def test_prefixes_are_left_out_and_said(there: Terminal) -> None:
    state = torch.load("conv0.pt", weights_only=True)
    wrapped = {f"module._orig_mod.{name}": tensor + 1 for name, tensor in state.items()}
    torch.save({"state_dict": wrapped, "epoch": 9}, "wrapped.pt")
    save_file({name: (tensor + 1).contiguous() for name, tensor in state.items()}, "plain.safetensors")
    command = ("register", "--group", "Conv-digits-standard", "--epoch", "3")
    said = refused(there, *command, "wrapped.pt")
    assert "state_dict, epoch" in said and "--key" in said
    assert "it has state_dict, epoch" in refused(there, *command, "wrapped.pt", "--key", "weights")
    there.records(*command, "wrapped.pt", "--key", "state_dict")
    assert "the prefix module._orig_mod. is left out" in there.errors
    there.records(*command, "plain.safetensors")
    show = there.records("group", "show", "Conv-digits-standard")[0]
    third, fourth = (member["checkpoints"][0]["sha256"] for member in show["members"][2:])
    assert third == fourth


def broken(name: str, state: dict[str, torch.Tensor]) -> Any:
    """A state dictionary with one fault."""
    other = dict(state)
    if name == "missing":
        other.pop("conv1.weight")
    if name == "surplus":
        other["extra.weight"] = torch.zeros(2)
    if name == "shape":
        other["head.weight"] = torch.zeros(3, 6)
    if name == "finite":
        other["stem.bias"] = torch.full((6,), float("nan"))
    if name == "cast":
        other["stem.bias"] = torch.full((6,), 1e300, dtype=torch.float64)
    if name == "sparse":
        other["stem.bias"] = torch.ones(6).to_sparse()
    if name == "meta":
        other["stem.bias"] = torch.ones(6, device="meta")
    if name == "kind":
        other["stem.bias"] = torch.zeros(6, dtype=torch.int64)
    return {"list": [1], "empty": {}}.get(name, other)


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("missing", "lacks 1 of the network's tensors: conv1.weight"),
        ("surplus", "1 tensors that the network has not: extra.weight"),
        ("shape", "head.weight of bad.pt is 3x6, of the network 10x6"),
        ("finite", "stem.bias of bad.pt holds numbers that are not finite"),
        ("cast", "stem.bias of bad.pt holds numbers that are not finite (as float32)"),
        ("sparse", "stem.bias of bad.pt is no plain tensor"),
        ("meta", "stem.bias of bad.pt is no plain tensor"),
        ("kind", "stem.bias of bad.pt holds int64, of the network float32"),
        ("list", "holds a list"),
        ("empty", "it has nothing"),
    ],
)
def test_a_state_that_does_not_fit_is_refused(there: Terminal, name: str, word: str) -> None:
    torch.save(broken(name, torch.load("conv0.pt", weights_only=True)), "bad.pt")
    assert word in refused(there, "register", "conv1.pt", "bad.pt", "--group", "Conv-digits-standard", "--epoch", "3")


def test_tied_weights_must_be_one_tensor(there: Terminal) -> None:
    state = torch.load("tokens0.pt", weights_only=True)
    torch.save(state | {"head.weight": state["head.weight"] + 1}, "untied.pt")
    assert "are one tensor in the network" in refused(
        there, "register", "untied.pt", "--group", "Tokens-words-standard"
    )


def test_files_that_are_no_checkpoints_are_refused(there: Terminal) -> None:
    command = ("register", "--group", "Conv-digits-standard")
    Path("noise.pt").write_bytes(b"noise")
    Path("noise.safetensors").write_bytes(b"noise")
    torch.save(torch.nn.Linear(2, 2), "module.pt")
    for file, code in (("noise.pt", 2), ("noise.safetensors", 2), ("module.pt", 2), ("none.pt", 3), ("nets.py", 2)):
        refused(there, *command, file, code=code)
    refused(there, *command, "conv0.pt", "conv0.pt")
    refused(there, "register", "conv0.pt", "--group", "nothing", code=3)
    shutil.copy("conv0.pt", "copy.pt")
    assert "the same file" in refused(there, *command, "conv0.pt", "copy.pt", "--epoch", "3")


@pytest.mark.parametrize(
    ("model", "word", "code"),
    [
        ("nets.py:Konv", "did you mean Conv", 3),
        ("none.py:Conv", "there is no file none.py", 3),
        ("nets.py:nothing", "returns a int", 2),
        ("nets.py:raising", "no weights here", 2),
        ("nets.py:Random", "random in evaluation", 2),
        ("nets.py:Pair", "puts out a tuple", 2),
        ("nets.py:Branching", "decides by its data", 2),
        ("nets.py:Unknown", "bessel_j0", 2),
        ("nets.py:Tokens", "does not run on inputs", 2),
        ("nets.py:Drawn", "scale is a constant of the network's code, but another one each time", 2),
        ("nets.py:Doubled", "puts out 2N x 10", 2),
        ("nets.py:Turned", "does not have the samples first", 2),
    ],
)
def test_a_network_that_cannot_be_taken_in_is_refused(there: Terminal, model: str, word: str, code: int) -> None:
    assert word in refused(there, "register", "conv0.pt", "--model", model, "--dataset", "digits", code=code)


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("--model", "nets.py:Conv"), "--dataset"),
        (("--model", "nets.py:Conv", "--dataset", "digits", "--model-arg", "classes=4"), "4 outputs"),
        (("--model", "nets.py:Conv", "--dataset", "digits", "--model-arg", "depth=4"), "cannot be called so"),
        (("--model", "nets.py:Conv", "--dataset", "digits", "--input", "3x8x8"), "is 1x8x8"),
        (("--model", "nets.py:Conv", "--dataset", "digits", "--input", "8:"), "says no input"),
        (("--model", "nets.py:Conv", "--dataset", "digits", "--group", "x"), "--group"),
        (("--model", "nets.py:Conv", "--dataset", "digits", "--init", "conv1.pt", "--epoch", "0"), "epoch"),
        (("--model", "nets.py:Conv", "--dataset", "digits", "--init", "a.pt", "--init", "b.pt"), "2 initializations"),
        (("--model", "nets.py:Conv", "--dataset", "digits", "--arch-name", "a b"), "cannot be an architecture's name"),
        (("--model", "nets.py:Shorter", "--dataset", "words.npz"), "puts out N x 4 x 12"),
        (("--model", "nets.py:Conv", "--dataset", "words.npz"), "does not run on inputs"),
        (("--group", "Conv-digits-standard", "--dataset", "digits"), "--dataset"),
        (("--dataset", "digits"), "--model"),
    ],
)
def test_options_that_do_not_go_together_are_refused(there: Terminal, arguments: tuple[str, ...], word: str) -> None:
    assert word in refused(there, "register", "conv0.pt", *arguments)


def other(name: str) -> dict[str, np.ndarray]:
    """A file of data with one fault."""
    data: dict[str, Any] = words()
    if name == "missing":
        data.pop("test_targets")
    if name == "length":
        data["train_targets"] = data["train_targets"][:5]
    if name == "shape":
        data["test_inputs"] = data["test_inputs"][:, :4]
    if name == "object":
        data["train_inputs"] = np.array([{"a": 1}], dtype=object)
    if name == "bytes":
        data["train_inputs"] = data["train_inputs"].astype(np.uint8)
    if name == "below":
        data["train_targets"] = data["train_targets"] - 300
    if name == "uncounted":
        data["test_targets"] = np.full_like(data["test_targets"], -100)
    if name == "surplus":
        data["inputs"] = data["train_inputs"]
    return data


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("missing", "lacks test_targets"),
        ("length", "60 train_inputs but 5 train_targets"),
        ("shape", "test_inputs of bad.npz are 4 whole numbers a sample"),
        ("object", "arrays of Python objects"),
        ("bytes", "is uint8"),
        ("below", "below 0"),
        ("uncounted", "in the test split of bad.npz no position is counted"),
        ("surplus", "unknown tensor"),
    ],
)
def test_a_file_of_data_with_a_fault_is_refused(there: Terminal, name: str, word: str) -> None:
    np.savez("bad.npz", **other(name))  # type: ignore[arg-type]
    command = ("register", "tokens0.pt", "--model", "nets.py:Tokens", "--dataset", "bad.npz")
    assert word in refused(there, *command)
    assert word in refused(there, "train", "--dataset", "bad.npz")


def test_one_content_is_one_data_set_and_trains_native_networks(there: Terminal) -> None:
    rng = np.random.default_rng(1)
    data = {
        f"{split}_{what}": value
        for split in ("train", "val", "test")
        for what, value in (
            ("inputs", rng.standard_normal((40, 6)).astype(np.float32)),
            ("targets", rng.integers(0, 3, 40)),
        )
    }
    np.savez("toy.npz", **data)  # type: ignore[arg-type]
    Path("b").mkdir()
    save_file({name: torch.from_numpy(value) for name, value in data.items()}, "b/toy.safetensors")
    small = ("--width", "8", "--depth", "2", "--epochs", "1", "--workers", "1")
    first = there.records("train", "--dataset", "toy.npz", *small)
    again = there.records("train", "--dataset", "b/toy.safetensors", *small)
    assert [r["group"] for r in first] == ["mlp-toy-standard"] * 2 and not any(r["trained_now"] for r in again)
    Path("toy.npz").unlink()
    assert len(there.records("lmc", "--dataset", "toy.npz", "--points", "2")) == 2
    assert there("lmc", "--dataset", "toi") == 2 and "did you mean toy?" in there.errors
    assert there("train", "--dataset", "b/toy.safetensors", "--dry-run", *small) == 0
    assert 'dataset = "b/toy.safetensors"' in there.printed


def test_labels_and_uncounted_positions_are_measured_as_they_should() -> None:
    from nid_cli.metrics import Tally

    logits, targets = torch.randn(7, 5, 4), torch.randint(4, (7, 5))
    targets[torch.rand(7, 5) < 0.4] = -100
    targets[3] = -100
    tally = Tally()
    for part in range(7):
        tally.add(logits[part : part + 1], targets[part : part + 1])
    losses = [
        -float(logits[i, t].log_softmax(0)[targets[i, t]]) for i in range(7) for t in range(5) if targets[i, t] >= 0
    ]
    right = [int(logits[i, t].argmax() == targets[i, t]) for i in range(7) for t in range(5) if targets[i, t] >= 0]
    assert tally.result().loss == pytest.approx(sum(losses) / len(losses), rel=1e-5)
    assert tally.result().accuracy == pytest.approx(100 * sum(right) / len(right))


def test_a_covariance_that_fills_the_memory_is_refused_before_it_is_begun(
    there: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nid_cli.analysis.parameters.bounds.LARGEST_COVARIANCE", 8 * 50**2)
    for command in ("cost", "coherence"):
        said = refused(there, command, "--arch", "Conv")
        assert "54 inputs of conv1" in said and "--layers stem,head" in said
        assert there(command, "--arch", "Conv", "--layers", "stem,head") == 0, there.errors


def test_the_documents_say_what_registering_did(there: Terminal) -> None:
    assert there("group", "show", "Vit-digits-standard", "--json") == 0
    members = json.loads(there.printed)["records"][0]["members"]
    assert [Path(member["source"]["path"]).name for member in members] == ["vit0.pt", "vit1.pt"]


def test_constants_that_state_dictionaries_have_may_be_infinite_but_are_one_for_a_group(there: Terminal) -> None:
    save_states(there.folder, module_of(there.folder / "nets.py"), "Masked", seeds=3)
    command = ("register", "--model", "nets.py:Masked", "--dataset", "digits")
    state = torch.load("masked1.pt", weights_only=True)
    torch.save(state | {"mask": state["mask"].flip(0)}, "other.pt")
    assert "mask, a constant that the network computes with, differs between masked0.pt and other.pt" in refused(
        there, *command, "masked0.pt", "other.pt"
    )
    assert len(there.records(*command, "masked0.pt", "masked1.pt")) == 2
    assert "between model 1 and other.pt" in refused(there, *command, "other.pt")
    [record] = there.records("lmc", "--arch", "Masked", "--align", "none", "--points", "3")
    assert all(0 < loss < 10 for loss in record["test_loss"])


def test_positions_must_be_counted_after_the_validation_split_too(there: Terminal) -> None:
    data = words()
    data["train_targets"][:59] = -100
    np.savez("bad.npz", **data)  # type: ignore[arg-type]
    said = refused(there, "register", "tokens0.pt", "--model", "nets.py:Tokens", "--dataset", "bad.npz")
    assert "in the validation split of bad no position is counted" in said


def test_a_conversion_is_said(there: Terminal) -> None:
    state = torch.load("conv1.pt", weights_only=True)
    torch.save({name: tensor.double() + 1 for name, tensor in state.items()}, "double.pt")
    there.records("register", "--group", "Conv-digits-standard", "double.pt")
    assert "double.pt: numbers are converted from float64 to float32" in there.errors
