"""Times of whole commands on real MNIST, 784-512-512-512-10, beside the bare matrix products of the same work.

    python tests/benchmarks/bench.py --data-dir DIR [--only match,cost] [--epochs 1]

For each command: seconds, peak memory, and the ratio to the time that the matrix products it cannot do without take, in
the same run on the same machine. Not a test: nothing here passes or fails.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

LAYERS = ((784, 512), (512, 512), (512, 512), (512, 10))
MACS = sum(d * n for d, n in LAYERS)
TRAIN, ALL = 54_000, 70_000


def products(macs: float, threads: int) -> float:
    """Seconds that ``macs`` multiply-adds take in large matrix products on ``threads`` threads."""
    import torch

    torch.set_num_threads(threads)
    a, b = torch.randn(4096, 512), torch.randn(512, 512)
    for _ in range(3):
        a @ b
    best = min(_timed(lambda: a @ b) for _ in range(20))
    return macs / (4096 * 512 * 512) * best


def _timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def command(folder: Path, *arguments: str) -> tuple[float, float]:
    """(seconds, peak MB of the largest process) of one ``nid`` call."""
    began = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-m", "nid_cli", *arguments], cwd=folder, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"nid {' '.join(arguments)} failed")
    return time.perf_counter() - began, usage.ru_maxrss / 1024


def main() -> None:
    """Runs the benchmarks and prints one line each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", required=True)
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--only", default="")
    given = parser.parse_args()
    threads = os.cpu_count() or 1
    group = ["--group", "bench", "--data-dir", given.data_dir]
    moments = TRAIN * sum(d * d for d, _ in LAYERS)
    cost_solve = sum(n * n * 80 * 90 for _, n in LAYERS[:3])
    # name: arguments, multiply-adds that cannot be avoided, threads that share them
    work: dict[str, tuple[list[str], float, int]] = {
        "train": (
            ["train", "--dataset", "mnist", "--symmetry", "w", "--epochs", str(given.epochs), "--name", "bench",
             "--data-dir", given.data_dir],
            2 / threads * given.epochs * 3 * TRAIN * MACS, 1,
        ),
        "lmc": (["lmc", *group], ALL * MACS * (2 * 7 + 2) + TRAIN * (2 * MACS + 3 * 512 * 512), threads),
        "match": (
            ["match", *group, "--at", "post_linear,post_norm,post_activation"],
            TRAIN * (2 * MACS + 9 * 512 * 512), threads,
        ),
        "cost": (["cost", *group, "--models", "1"], TRAIN * MACS + moments + cost_solve, threads),
        "coherence": (["coherence", *group, "--models", "1"], TRAIN * MACS + moments, threads),
        "ridge": (
            ["cost", "--method", "ridge", *group, "--models", "1", "--layers", "0"],
            4 * 30 * 2 * 6_000 * 784 * 256, threads,
        ),
        "synthetic": (["coherence", "synthetic"], 2_000 * 100 * 1_024 * 128 * 2 * 3, threads),
    }  # fmt: skip
    chosen = given.only.split(",") if given.only else list(work)
    if "train" not in chosen:
        chosen = ["train", *chosen]
    with tempfile.TemporaryDirectory() as scratch:
        startup, _ = command(Path(scratch), "train", "--epochs", "0", "--seeds", "1", "--width", "8")
        print(f"{'start-up':<10} {startup:7.1f} s", flush=True)
        for name in chosen:
            arguments, macs, used = work[name]
            seconds, peak = command(Path(scratch), *arguments)
            bare = products(macs, used)
            figures = f"{seconds:7.1f} s  {peak:7.0f} MB  {seconds / bare:6.1f} x the bare products ({bare:.2f} s)"
            print(f"{name:<10} {figures}", flush=True)


if __name__ == "__main__":
    main()
