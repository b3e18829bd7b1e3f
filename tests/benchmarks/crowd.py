"""Eight processes at once on one registry: train (two of them the same), register, analyse, rename, list, back up.

    python tests/benchmarks/crowd.py [--rounds 20]

Nobody meets a locked database, nothing is lost or doubled, equal trainings train once. Prints what was counted; any
loss raises AssertionError. The test suite runs one round.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.benchmarks.kills import REGISTRY, nid, reference_run
from tests.benchmarks.witness import hashed_files, rows

SMALL = ("--width", "8", "--depth", "2", "--epochs", "3", "--workers", "1", "--json")
SAME = ("train", "--symmetry", "w", "--num-fixed", "2", *SMALL)
# Commands that need no torch are repeated within one process, as a busy shell would.
LOOP = """
import sys
from nid_cli.cli.app import run
codes = [run(words.format(i=i, j=i + 1).split()) for i in range(int(sys.argv[1])) for words in sys.argv[2:]]
sys.exit(max(codes))
"""


def commands(repeat: int) -> dict[str, list[str]]:
    """What the eight processes run."""
    program = [sys.executable, "-m", "nid_cli"]
    loop = [sys.executable, "-c", LOOP, str(repeat)]
    return {
        "train": [*program, *SAME],
        "the same training": [*program, *SAME],
        "another training": [*program, "train", "--symmetry", "syre", *SMALL],
        "register": [*program, "register", "run", "--json"],
        "lmc": [*program, "lmc", "--group", "first", "--points", "5", "--json"],
        "rename": [*loop, "group rename renamed-{i} renamed-{j}", "group note renamed-{j} the_{j}th"],
        "list": [*loop, "group list --json", "group show first --json"],
        "back up": [*loop, "db backup copy.db --force", "db check"],
    }


def prepare(folder: Path) -> None:
    """Two groups, and a run directory to register."""
    reference_run(folder / "run", 10)
    nid(folder, "train", *SMALL, "--name", "first")
    nid(folder, "train", "--symmetry", "sigma", *SMALL, "--name", "renamed-0")


def one_round(template: Path, repeat: int) -> dict[str, int]:
    """All eight at once on a copy of ``template``; returns what was counted."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "lab"
        shutil.copytree(template, folder)
        before = rows(folder / REGISTRY)
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        crowd = {
            name: subprocess.Popen(words, cwd=folder, **pipes) for name, words in commands(repeat).items()
        }  # fmt: skip
        said = {name: process.communicate(timeout=600) for name, process in crowd.items()}
        for name, process in crowd.items():
            assert process.returncode == 0 and "locked" not in said[name][1], f"{name}: {said[name][1]}"
        after = rows(folder / REGISTRY)
        # Renaming and notes leave no rows; the renamed group has another name.
        lost = {row for row in before - after if row[0] != "groups"}
        assert not lost, f"lost rows: {lost}"
        trained = [json.loads(said[name][0])["records"] for name in ("train", "the same training")]
        assert sorted(sum(r["trained_now"] for r in records) for records in trained) == [0, 2]
        assert [[r["model"] for r in records] for records in trained] == [[1, 2], [1, 2]]
        listed = json.loads(nid(folder, "group", "list", "--json"))["records"]
        counts = sorted((g["symmetry"], g["models"], g["complete"]) for g in listed)
        # The registered run is a standard network of another data set.
        assert counts == [("sigma", 2, 2), ("standard", 2, 2), ("standard", 10, 10), ("syre", 2, 2), ("w", 2, 2)]
        renamed = next(g for g in listed if g["symmetry"] == "sigma")
        assert (renamed["name"], renamed["note"]) == (f"renamed-{repeat}", f"the_{repeat}th")
        nid(folder, "db", "check")
        assert json.loads(nid(folder, "db", "gc", "--dry-run", "--json"))["records"] == []
        return {"processes": len(crowd), "rows": len(after), "files": hashed_files(folder / REGISTRY)}


def run(rounds: int, repeat: int) -> dict[str, int]:
    """``rounds`` crowds, one after another; the sums of what was counted."""
    total: dict[str, int] = {}
    with tempfile.TemporaryDirectory() as scratch:
        template = Path(scratch)
        prepare(template)
        for _ in range(rounds):
            for name, count in one_round(template, repeat).items():
                total[name] = total.get(name, 0) + count
    return total


def main() -> None:
    """The long version."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--repeat", type=int, default=30)
    given = parser.parse_args()
    began = time.perf_counter()
    total = run(given.rounds, given.repeat)
    print(", ".join(f"{count} {name}" for name, count in total.items()), f"in {time.perf_counter() - began:.0f} s")


if __name__ == "__main__":
    main()
