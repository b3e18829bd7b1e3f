"""Any argument list ends with a documented exit code and no traceback; a usage error never changes the registry.

``NID_EXAMPLES=5000 pytest tests/cli/test_bad_input.py`` tries more of them.
"""

from __future__ import annotations

import contextlib
import io
import os
import sqlite3
import tarfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from nid_cli.cli.app import run
from nid_cli.registry.opening import open_for_writing

DOCUMENTED = {0, 1, 2, 3, 4, 5, 130, 141}
FROZEN = Path(__file__).parents[1] / "registry/frozen/0001.tar.gz"

GROUPS = ("baseline", "mlp-digits-standard", "mlp-digits-syre-k1", "basline")
PATHS = (".", "missing", ".nid", ".nid/registry.db", "bad.toml", "copy.db", "no/such/file.json")
WORDS = (
    *GROUPS, *PATHS, "0", "1", "-1", "2", "1e3", "nan", "inf", "-inf", "0.5", "1,2", "1,,2", "1-2", "2-1", "1-1000000",
    "0:2", "0:2:0", "last", "all", "none", "null", "disjoint", "activation", "weight", "mlp", "resnet", "digits",
    "mnist", "w", "standard", "sigma", "syre", "3", "k=3", "k", "=", "train-size=0", "9999999999999999999", "true", "",
    " ", "é", "'; DROP TABLE groups; --", "\x1b[2J", "💥", "x" * 300, "pearson", "dot", "adamw", "layer", "a.pdf",
)  # fmt: skip
COMMON = ("--registry", "--json", "--help", "--bogus", "--", "-h")
SELECTORS = ("--arch", "--dataset", "--symmetry", "--kappa", "--group", "--models", "--epochs", "--pairs", "--export")
# By command: its options. Training only ever says what it would do, and two thousand networks are not trained.
COMMANDS: dict[tuple[str, ...], tuple[str, ...]] = {
    ("train", "--dry-run"): (
        "--arch", "--dataset", "--data", "--symmetry", "--kappa", "--seeds", "--seed", "--epochs", "--width", "--depth",
        "--norm", "--activation", "--num-fixed", "--lr", "--weight-decay", "--momentum", "--optimizer", "--milestones",
        "--gamma", "--batch-size", "--save-every", "--name", "--workers", "--config", "--device", "--data-dir",
    ),
    ("register",): ("--name", "--recursive"),
    ("register", ".nid"): ("--name", "--recursive"),
    ("group",): (),
    ("group", "list"): SELECTORS,
    ("group", "show"): (),
    ("group", "rename"): (),
    ("group", "note"): (),
    ("group", "rm"): ("--yes",),
    ("group", "restore"): (),
    ("group", "export"): (),
    ("lmc",): (*SELECTORS, "--points", "--align", "--device"),
    ("match",): (*SELECTORS, "--at", "--similarity", "--random", "--device"),
    ("similarity",): (*SELECTORS, "--align", "--at", "--since", "--device"),
    ("cost",): (
        *SELECTORS, "--method", "--layers", "--neurons", "--explained-variance", "--betas", "--solver", "--iterations",
        "--subsample",
    ),
    ("coherence",): (*SELECTORS, "--explained-variance", "--device"),
    ("ntk",): (*SELECTORS, "--samples", "--split", "--device"),
    ("plot", "lmc"): (*SELECTORS, "--out", "--split", "--points", "--align", "--columns"),
    ("plot", "match"): (*SELECTORS, "--out", "--against", "--similarity", "--at"),
    ("merge",): (*SELECTORS, "--align", "--out", "--repair", "--device"),
    ("plot", "merge"): (*SELECTORS, "--out", "--align", "--counts", "--split", "--repair"),
    ("plot", "similarity"): (*SELECTORS, "--out", "--align", "--at", "--since", "--split"),
    ("plot", "barrier"): (*SELECTORS, "--out", "--against", "--split"),
    ("plot", "cost"): (*SELECTORS, "--out", "--kind", "--across", "--layers", "--method", "--neurons"),
    ("plot", "ntk"): (*SELECTORS, "--out", "--samples", "--split"),
    ("plot", "training"): (*SELECTORS, "--out", "--split"),
    ("plot", "report"): (*SELECTORS, "--out"),
    ("db",): (),
    ("db", "check"): (),
    ("db", "backup"): ("--force",),
    ("db", "restore"): (),
    ("db", "gc"): ("--dry-run",),
    ("db", "path"): (),
    ("db", "upgrade"): (),
    ("doctor",): ("--device", "--data-dir"),
    ("coherence", "synthetic", "--copies"): (),
    ("nothing",): (),
    (): (),
}  # fmt: skip


@st.composite
def command_lines(draw: st.DrawFn) -> list[str]:
    """A command with options and words, valid ones and others."""
    command = draw(st.sampled_from(sorted(COMMANDS)))
    word = st.sampled_from(WORDS) | st.text(st.characters(blacklist_characters="\0/", blacklist_categories=["Cs"]))
    option = st.sampled_from((*COMMANDS[command], *COMMON))
    rest = draw(st.lists(st.tuples(option, word).map(list) | word.map(lambda w: [w]), max_size=5))
    return [*command, *(part for parts in rest for part in parts)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("input")
    with tarfile.open(FROZEN) as tar:
        tar.extractall(folder, filter="data")
    (folder / "bad.toml").write_text("arch = [")
    open_for_writing(folder / ".nid/registry.db")
    with pytest.MonkeyPatch.context() as patch, contextlib.chdir(folder):
        patch.delenv("NID_REGISTRY", raising=False)
        patch.setenv("NID_DATA_DIR", str(folder / "no-data"))
        yield folder


def state(folder: Path) -> list[str]:
    """Everything in the registry: rows, and the files beside them."""
    with closing(sqlite3.connect(folder / ".nid/registry.db")) as connection:
        content = list(connection.iterdump())
    kept = (p for p in (folder / ".nid").rglob("*") if "locks" not in p.parts and not p.name.startswith("registry.db"))
    return content + sorted(map(str, kept))


@example(arguments=["coherence", "synthetic", "--copies", "9999999999999999999"])
@settings(max_examples=int(os.environ.get("NID_EXAMPLES", "300")), suppress_health_check=list(HealthCheck))
@given(arguments=command_lines())
def test_any_argument_list_ends_well(folder: Path, arguments: list[str]) -> None:
    before = state(folder)
    out, said = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(said):
        code = run(list(arguments))
    assert code in DOCUMENTED, (code, said.getvalue())
    assert "Traceback" not in said.getvalue() and "error in nid itself" not in said.getvalue(), said.getvalue()
    if code == 2:
        assert state(folder) == before and out.getvalue() == ""
    if code not in (0, 2, 5):
        assert said.getvalue().startswith(("error: ", "skipped: ")) or "doctor" in arguments, said.getvalue()
