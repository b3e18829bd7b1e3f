"""Results that are asked for together, cut into what shares passes over data, and into jobs for workers."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from nid_cli.registry.results import ResultKey

# Jobs for each worker: enough that all end at about the same time, few enough that most of their work is shared.
JOBS_A_WORKER = 4


def in_batches(missing: Sequence[ResultKey]) -> list[list[ResultKey]]:
    """Keys that are about the same models at the same epochs together, in order: they share passes over data."""
    return [list(batch) for _, batch in groupby(missing, key=lambda key: (key.of_group[0].id, key.sides))]


def in_jobs(missing: Sequence[ResultKey], workers: int) -> list[list[ResultKey]]:
    """Whole batches of one group together: contiguous ones, which have models in common."""
    batches = in_batches(missing)
    size = max(1, len(batches) // (JOBS_A_WORKER * workers))
    jobs = []
    for _, own in groupby(batches, key=lambda batch: batch[0].of_group[0].id):
        of_group = list(own)
        parts = [of_group[start : start + size] for start in range(0, len(of_group), size)]
        jobs += [[key for batch in part for key in batch] for part in parts]
    return jobs
