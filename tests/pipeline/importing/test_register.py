"""Importing the reference code's runs: what becomes of them, every kind of damage, and idempotence."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import sqlite3
from pathlib import Path

import pytest
import torch
import yaml

from nid_cli.cli.app import run


@pytest.fixture
def runs(shared: Path) -> Path:
    return shared / "fixtures/reference-runs"


@pytest.fixture
def nid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture):
    """The command line in-process, in an empty folder: (exit code, JSON records or None, stderr)."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("NID_REGISTRY", raising=False)

    def call(*arguments: str) -> tuple[int, list[dict] | None, str]:
        code = run([*map(str, arguments), "--json"])
        printed = capsys.readouterr()
        return code, json.loads(printed.out)["records"] if printed.out else None, printed.err

    return call


def copy(source: Path, target: Path) -> Path:
    """A writable copy of a run directory."""
    shutil.copytree(source, target)
    for path in (target, *target.iterdir()):
        os.chmod(path, 0o755)
    return target


def change_config(directory: Path, **changes: object) -> None:
    path = directory / "config.yaml"
    config = yaml.safe_load(path.read_text())
    for dotted, value in changes.items():
        *parents, last = dotted.split("__")
        node = config
        for parent in parents:
            node = node[parent]
        node[last] = value
    path.write_text(yaml.safe_dump(config))


def change_checkpoint(file: Path, change) -> None:
    checkpoint = torch.load(file, weights_only=True)
    change(checkpoint["model_state_dict"])
    torch.save(checkpoint, file)


def database(folder: Path) -> str:
    with sqlite3.connect(folder / ".nid/registry.db") as connection:
        return "\n".join(connection.iterdump())


def test_all_fixtures_by_one_command(nid, runs: Path, tmp_path: Path) -> None:
    code, outcomes, errors = nid("register", runs, "--recursive")
    assert code == 0, errors
    done = {Path(o["source"]).name: o for o in outcomes}
    assert [o["status"] for o in done.values()] == ["imported"] * 9
    assert all(o["models"] == [1, 2] for o in done.values())
    assert all(o["epochs"] == ([1] if name.startswith("resnet") else [0, 1]) for name, o in done.items())
    _, listed, _ = nid("group", "list")
    by_name = {g["name"]: g for g in listed}
    expected = {
        "mlp-standard": ("standard", None), "mlp-w-kappa1": ("w", 1.0), "mlp-sigma": ("sigma", None),
        "mlp-w-perlayer": ("w", [1.0, 1.0, 0.5, 0.25]), "mlp-syre-kappa1": ("syre", 1.0), "mlp-w-batchnorm": ("w", 1.0),
    }  # fmt: skip
    for source, (symmetry, kappa) in expected.items():
        group = by_name[done[source]["group"]]
        assert (group["symmetry"], group["kappa"], group["models"], group["epochs"]) == (symmetry, kappa, 2, [0, 1])
        assert (group["fixed_hash"] is None) == (symmetry == "standard")
    _, [shown], _ = nid("group", "show", done["mlp-w-batchnorm"]["group"])
    assert shown["settings"]["norm"] == "batch" and shown["settings"]["num_fixed"] == [4, 4, 4, 16]
    assert shown["members"][0]["seeds"]["init"] is None and "mlp-w-batchnorm" in shown["members"][0]["source"]["path"]
    before = database(tmp_path)
    code, again, _ = nid("register", runs, "--recursive")
    assert {o["status"] for o in again} == {"known"} and database(tmp_path) == before


def test_known_runs_need_no_torch(runs: Path, tmp_path: Path) -> None:
    import subprocess
    import sys

    from tests.conftest import execute

    assert execute(tmp_path, "register", str(runs / "mlp-sigma")).returncode == 0
    code = "import sys; from nid_cli.cli.app import run; run(sys.argv[1:]); print('torch' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code, "register", str(runs / "mlp-sigma")], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.stdout.splitlines()[-1] == "False", done.stderr


def test_checkpoints_hold_effective_weights_with_each_layers_kappa(nid, runs: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file

    nid("register", runs / "mlp-w-perlayer", "--name", "perlayer")
    raw = torch.load(runs / "mlp-w-perlayer/checkpoint_epoch_1_model_2.pt", weights_only=True)["model_state_dict"]
    [ours] = (tmp_path / ".nid/runs").glob("*/model-0002/epoch-000001.safetensors")
    state = load_file(ours)
    for i, kappa in enumerate((1.0, 1.0, 0.5, 0.25)):
        mask = raw[f"lins.{i}.mask"]
        expected = mask * raw[f"lins.{i}.weight"] + (1 - mask) * kappa * raw[f"lins.{i}.normal_mask"]
        assert torch.equal(state[f"linear.{i}.weight"], expected)
        assert torch.equal(state[f"linear.{i}.bias"], raw[f"lins.{i}.bias"])


def test_subsets_join_later_and_copies_are_known(nid, runs: Path, tmp_path: Path) -> None:
    part = copy(runs / "mlp-syre-kappa1", tmp_path / "part")
    aside = [part / "checkpoint_epoch_1_model_1.pt", part / "checkpoint_epoch_0_model_2.pt"]
    contents = [path.read_bytes() for path in aside]
    for path in aside:
        path.unlink()
    _, [first], _ = nid("register", part)
    assert first["new_checkpoints"] == 2 and first["models"] == [1, 2]
    for path, content in zip(aside, contents, strict=True):
        path.write_bytes(content)
    _, [second], _ = nid("register", part)
    assert second["new_checkpoints"] == 2 and second["group"] == first["group"] and second["models"] == [1, 2]
    _, [elsewhere], _ = nid("register", runs / "mlp-syre-kappa1")
    assert elsewhere["status"] == "known"
    _, [group], _ = nid("group", "list")
    assert group["models"] == 2 and group["epochs"] == [0, 1]


def test_equal_fixed_tensors_join_across_directories_and_others_do_not(nid, runs: Path, tmp_path: Path) -> None:
    one, two = (copy(runs / "mlp-w-kappa1", tmp_path / name) for name in ("one", "two"))
    for path in one.glob("*model_2.pt"):
        path.unlink()
    for path in two.glob("*model_1.pt"):
        path.unlink()
    other = copy(runs / "mlp-w-kappa1", tmp_path / "other")
    for path in other.glob("*.pt"):
        change_checkpoint(path, lambda state: state["lins.1.normal_mask"].add_(1))
    outcomes = [nid("register", folder) for folder in (one, two, other)]
    groups = [records_[0]["group"] for _, records_, _ in outcomes]
    assert groups[0] == groups[1] != groups[2]
    assert outcomes[1][1][0]["models"] == [2] and "fixed tensors are not those of" in outcomes[2][2]


def test_values_of_F_that_are_never_used_do_not_matter(nid, runs: Path, tmp_path: Path) -> None:
    def scramble(state: dict) -> None:
        for i in range(4):
            state[f"lins.{i}.normal_mask"] += 7 * state[f"lins.{i}.mask"]
            state[f"lins.{i}.weight"] += 3 * (1 - state[f"lins.{i}.mask"])
            state[f"lins.{i}.bias"] += 1e-3

    other = copy(runs / "mlp-w-kappa1", tmp_path / "other")
    for path in other.glob("*.pt"):
        change_checkpoint(path, scramble)
    _, [a], _ = nid("register", runs / "mlp-w-kappa1")
    _, [b], _ = nid("register", other)
    assert a["group"] == b["group"] and b["models"] == [3, 4]


class Payload:
    """What a malicious pickle would run."""

    def __reduce__(self):
        return (os.system, ("touch pwned",))


DAMAGE = {
    "no configuration": (lambda d: (d / "config.yaml").unlink(), "no config.yaml"),
    "no checkpoints": (lambda d: [p.unlink() for p in d.glob("*.pt")], "no checkpoints"),
    "truncated": (
        lambda d: (d / "checkpoint_epoch_1_model_2.pt").write_bytes(
            (d / "checkpoint_epoch_1_model_2.pt").read_bytes()[:2000]
        ),
        "truncated or damaged",
    ),
    "a text for a checkpoint": (
        lambda d: (d / "checkpoint_epoch_1_model_2.pt").write_text("root:x:0:0:root:/root:/bin/bash\n"),
        "truncated or damaged",
    ),
    "empty file": (lambda d: (d / "checkpoint_epoch_1_model_2.pt").write_bytes(b""), "truncated or damaged"),
    "a pickle that runs code": (
        lambda d: torch.save({"model_state_dict": Payload()}, d / "checkpoint_epoch_1_model_1.pt"),
        "could run code",
    ),
    "a bare pickle": (
        lambda d: (d / "checkpoint_epoch_1_model_1.pt").write_bytes(pickle.dumps(Payload())),
        "could run code",
    ),
    "no state": (lambda d: torch.save({"epoch": 1}, d / "checkpoint_epoch_1_model_1.pt"), "no model_state_dict"),
    "other width": (lambda d: change_config(d, model__hidden_dim=33), "contradicts its config.yaml"),
    "other symmetry": (lambda d: change_config(d, model__symmetry=0), "nothing there speaks of"),
    "other input": (lambda d: change_config(d, model__input_dim=100), "input_dim is 100"),
    "two masks": (
        lambda d: change_checkpoint(
            d / "checkpoint_epoch_0_model_2.pt", lambda s: s.update({"lins.0.mask": s["lins.0.mask"].flip(1)})
        ),
        "other fixed tensors",
    ),
    "mask of fractions": (
        lambda d: [change_checkpoint(p, lambda s: s["lins.0.mask"].mul_(0.5)) for p in d.glob("*.pt")],
        "more than zeros and ones",
    ),
    "uneven mask": (
        lambda d: [change_checkpoint(p, lambda s: s["lins.0.mask"][0].fill_(1)) for p in d.glob("*.pt")],
        "different numbers of fixed weights",
    ),
    "missing tensor": (
        lambda d: change_checkpoint(d / "checkpoint_epoch_1_model_1.pt", lambda s: s.pop("norms.1.bias")),
        "is missing",
    ),
    "graph network": (lambda d: change_config(d, model__name="gnn_arxiv"), "gnn_arxiv"),
    "layer_linear": (lambda d: change_config(d, model__norm="layer_linear"), "layer_linear"),
    "batch_linear": (lambda d: change_config(d, model__norm="batch_linear"), "batch_linear"),
    "norms without weights": (lambda d: change_config(d, model__elementwise_affine=False), "elementwise_affine"),
    "unknown data": (lambda d: change_config(d, dataset__name="svhn"), "svhn"),
    "unknown schedule": (lambda d: change_config(d, scheduler__name="cosine"), "cosine"),
    "unknown activation": (lambda d: change_config(d, model__activation="tanh"), "tanh"),
    "tagged YAML": (
        lambda d: (d / "config.yaml").write_text("model: !!python/object/apply:os.system ['touch pwned']"),
        "not plain YAML",
    ),
    "no YAML": (lambda d: (d / "config.yaml").write_text("model: ["), "not plain YAML"),
    "binary configuration": (lambda d: (d / "config.yaml").write_bytes(b"\xff\xfe\x00model"), "config.yaml"),
    "a pipe": (
        lambda d: ((d / "config.yaml").unlink(), os.mkfifo(d / "config.yaml")),
        "no config.yaml",
    ),
    "deep YAML": (lambda d: (d / "config.yaml").write_text("a: " + "[" * 5000), "not plain YAML"),
    "YAML that holds itself": (lambda d: (d / "config.yaml").write_text("a: &a [*a]"), "not plain YAML"),
    "YAML that unfolds": (
        lambda d: (d / "config.yaml").write_text(
            "a0: &a0 [x]\n" + "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 12))
        ),
        "aliases make",
    ),
    "a list": (lambda d: (d / "config.yaml").write_text("- model"), "holds no model"),
    "half a configuration": (lambda d: (d / "config.yaml").write_text("model: {name: mlp_mnist}"), "config.yaml"),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_damage_is_refused_with_its_reason_and_leaves_nothing(nid, runs: Path, tmp_path: Path, kind: str) -> None:
    damage, reason = DAMAGE[kind]
    nid("register", runs / "mlp-sigma", "--name", "good")
    before = {g["name"] for g in nid("group", "list")[1]}
    damaged = copy(runs / "mlp-w-kappa1", tmp_path / "many/damaged")
    damage(damaged)
    code, _, errors = nid("register", damaged)
    assert code in (1, 3) and reason in errors and errors.startswith("error: ") and "damaged" in errors
    assert {g["name"] for g in nid("group", "list")[1]} == before and not (tmp_path / "pwned").exists()
    copy(runs / "mlp-standard", tmp_path / "many/fine")
    code, outcomes, errors = nid("register", tmp_path / "many", "--recursive")
    found = {Path(o["source"]).name: o["status"] for o in outcomes}
    if kind in ("no configuration", "no checkpoints", "a pipe") or "damaged" in found:
        assert found["fine"] == "imported" and found.get("damaged", "skipped") == "skipped"
    assert code == 1 and reason in errors


def test_wrong_calls(nid, runs: Path, tmp_path: Path) -> None:
    assert nid("register", tmp_path / "nowhere")[0] == 3
    assert nid("register", tmp_path, "--recursive")[0] == 3
    assert nid("register", runs / "mlp-sigma", runs / "mlp-standard", "--name", "x")[0] == 2
    assert nid("register", runs / "mlp-sigma", "--name", "a b")[0] == 2
    assert not (tmp_path / ".nid").exists()


def test_asymmetric_initialization_alone_is_a_standard_network_apart(nid, runs: Path, tmp_path: Path) -> None:
    started = copy(runs / "mlp-standard", tmp_path / "started")
    change_config(
        started, model__symmetry=1, model__asym_init_only=True, model__mask_params={"default": {"mask_constant": 2.0}}
    )
    _, [plain], _ = nid("register", runs / "mlp-standard")
    for path in started.glob("*.pt"):
        change_checkpoint(path, lambda state: state["lins.0.bias"].add_(0.1))
    _, [init_only], _ = nid("register", started)
    _, [group], _ = nid("group", "list", "--group", init_only["group"])
    assert group["symmetry"] == "standard" and group["kappa"] is None and init_only["group"] != plain["group"]
