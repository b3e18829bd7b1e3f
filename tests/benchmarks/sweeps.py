"""Sweeps at work, measured and disturbed; what they leave is held against an undisturbed one, byte by byte.

python -m tests.benchmarks.sweeps busy                 # 200 models: seconds, share of the cores that was busy
python -m tests.benchmarks.sweeps kill --times 10      # the command killed at random, and called again
python -m tests.benchmarks.sweeps nodes --times 10     # a machine of a Ray cluster removed in mid-training
python -m tests.benchmarks.sweeps ray --data-dir DIR   # MNIST models by Ray and by worker processes, in turn
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.cli.test_train import tree

KAPPAS = [round(0.1 * (i + 1), 1) for i in range(25)]


def sweep(groups: int, seeds: int, epochs: int) -> str:
    """A file of so many groups on digits, half of them w, half syre."""
    own = KAPPAS[: groups // 2]
    table = "[[train]]\nsymmetry = '{}'\nkappa = {}\nseeds = {}\nepochs = {}\nsave_every = 2\n"
    return "".join(table.format(symmetry, own, seeds, epochs) for symmetry in ("w", "syre"))


def call(folder: Path, *arguments: str) -> subprocess.Popen:
    """``nid`` in a folder, with a process group of its own."""
    command = [sys.executable, "-m", "nid_cli", *arguments]
    with open(folder / "said.txt", "a") as said:
        return subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=said, start_new_session=True)


def finish(folder: Path, *arguments: str) -> float:
    """Runs ``nid`` to its end, which must be good; the seconds that it took."""
    began = time.perf_counter()
    code = call(folder, *arguments).wait()
    assert code == 0, f"nid {' '.join(arguments)} ended with {code}"
    return time.perf_counter() - began


def say(sentence: str) -> None:
    """A line of what was found."""
    load = os.getloadavg()[0]
    sys.stdout.write(f"{sentence} (load {load:.1f})\n")
    sys.stdout.flush()


def cpu() -> tuple[int, int]:
    """Ticks of all cores since the machine began: busy, and idle."""
    fields = [int(field) for field in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:8]]
    idle = fields[3] + fields[4]
    return sum(fields) - idle, idle


def busy(folder: Path) -> None:
    """Seconds, and the share of the cores that was busy."""
    (folder / "many.toml").write_text(sweep(50, 4, 5))
    before = cpu()
    seconds = finish(folder, "sweep", "many.toml")
    work, idle = (b - a for a, b in zip(before, cpu(), strict=True))
    say(f"200 models in {seconds:.1f} s, {100 * work / (work + idle):.0f} % of the cores busy")


def undisturbed(folder: Path, text: str) -> dict[str, str]:
    """The checkpoints of a sweep that nothing disturbs."""
    folder.mkdir()
    (folder / "some.toml").write_text(text)
    finish(folder, "sweep", "some.toml")
    return tree(folder)


def kill(folder: Path, times: int) -> None:
    """Kills the command with ``kill -9`` at random moments."""
    text = sweep(50, 4, 5)
    expected = undisturbed(folder / "whole", text)
    cut = folder / "cut"
    cut.mkdir()
    (cut / "some.toml").write_text(text)
    for _ in range(times):
        running = call(cut, "sweep", "some.toml")
        time.sleep(random.uniform(1.0, 6.0))
        running.kill()
        running.wait()
    finish(cut, "sweep", "some.toml")
    finish(cut, "db", "check")
    assert tree(cut) == expected, "other bytes"
    say(f"killed {times} times: complete, {len(expected)} files the same, db check sound")


def nodes(folder: Path, times: int) -> None:
    """Removes one of two machines while a model is trained on each, and adds another."""
    from tests.benchmarks import cluster

    text = sweep(6, 1, 60).replace("save_every = 2", "save_every = 5")
    expected = undisturbed(folder / "whole", text)
    machines = cluster.start(1)
    last = cluster.add(machines)
    try:
        for number in range(times):
            cut = folder / f"cut{number}"
            cut.mkdir()
            (cut / "some.toml").write_text(text)
            running = call(cut, "sweep", "some.toml", "--engine", "ray", "--address", machines.address)
            while len(tree(cut)) < 7 + 5 * number and running.poll() is None:
                time.sleep(0.1)
            at = len(tree(cut))
            machines.remove_node(last, allow_graceful=False)
            last = cluster.add(machines)
            assert running.wait(timeout=300) == 0, (cut / "said.txt").read_text()
            finish(cut, "db", "check")
            assert tree(cut) == expected, "other bytes"
            say(f"a machine removed after {at} of {len(expected)} files: complete, the same bytes, db check sound")
    finally:
        machines.shutdown()


def ray(folder: Path, data_dir: str) -> None:
    """8 MNIST models of two epochs, by two worker processes and by two machines of one core."""
    from tests.benchmarks import cluster

    machines = cluster.start(2)
    command = ("train", "--dataset", "mnist", "--symmetry", "w", "--seeds", "8", "--epochs", "2")
    ways = {"local": (), "ray": ("--engine", "ray", "--address", machines.address)}
    try:
        for turn in range(2):
            for name, way in ways.items():
                own = folder / f"{name}{turn}"
                own.mkdir()
                say(f"{name}: {finish(own, *command, *way, '--data-dir', data_dir):.1f} s")
    finally:
        machines.shutdown()


def main() -> None:
    """One of the measurements."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("busy", "kill", "nodes", "ray"))
    parser.add_argument("--times", type=int, default=10)
    parser.add_argument("--data-dir", default="DIR")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        match given.what:
            case "busy":
                busy(folder)
            case "kill":
                kill(folder, given.times)
            case "nodes":
                nodes(folder, given.times)
            case "ray":
                ray(folder, given.data_dir)


if __name__ == "__main__":
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "error")
    main()
