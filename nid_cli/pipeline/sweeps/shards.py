"""A sweep's trainings in shares for machines that know nothing of each other. No torch."""

from __future__ import annotations

import re
from collections.abc import Mapping

from nid_cli.errors import UsageError


def parse(text: str) -> tuple[int, int]:
    """``i/n``, share i of n; the first is 0.

    Raises:
        UsageError: it cannot be read so, or there is no such share.
    """
    match = re.fullmatch(r"\s*(\d{1,9})\s*/\s*(\d{1,9})\s*", text)
    if not match:
        raise UsageError(f"--shard must read like 0/4, not {text!r}", "of 4 shares the first is 0/4, the last 3/4")
    index, count = int(match[1]), int(match[2])
    if count == 0:
        raise UsageError(f"--shard {text} divides the sweep into no shares", "0/1 is all of it")
    if index >= count:
        raise UsageError(
            f"--shard {text}: of {count} shares the first is 0/{count}, the last {count - 1}/{count}",
            f"of a SLURM array --array=0-{count - 1}, $SLURM_ARRAY_TASK_ID/$SLURM_ARRAY_TASK_COUNT",
        )
    return index, count


def share(costs: Mapping[str, float], index: int, count: int) -> set[str]:
    """The runs of share ``index`` of ``count``: each run is in one share, and shares cost about the same.

    The most costly run goes to the share that has least so far (Graham 1969: the most costly share costs at most 4/3 of
    what it must). What is trained already, and the order of ``costs``, change nothing.

    Args:
        costs: by the run's hash what it costs, as its specification tells.
    """
    loads, shares = [0.0] * count, [set[str]() for _ in range(count)]
    for run in sorted(costs, key=lambda run: (-costs[run], run)):
        least = min(range(count), key=lambda i: (loads[i], len(shares[i])))
        loads[least] += costs[run]
        shares[least].add(run)
    return shares[index]
