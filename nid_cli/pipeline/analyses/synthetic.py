"""The synthetic coherence experiment, outer seed by outer seed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from nid_cli.analysis.parameters import Parameters
from nid_cli.analysis.synthetic import run
from nid_cli.analysis.synthetic_settings import CASE, SyntheticSettings
from nid_cli.pipeline.analyses.lab import Lab
from nid_cli.records.synthetic import Synthetic
from nid_cli.registry.results import ResultKey


def compute(lab: Lab, missing: Sequence[ResultKey], parameters: Parameters) -> Iterator[tuple[ResultKey, Synthetic]]:
    """All students of an outer seed are trained side by side, then recorded."""
    assert isinstance(parameters, SyntheticSettings)
    by_seed: dict[int, list[ResultKey]] = {}
    for key in missing:
        by_seed.setdefault(key.parameters["outer_seed"], []).append(key)
    total, done = parameters.models // parameters.outer_seeds * len(by_seed), 0

    def advance(students: int) -> None:
        nonlocal done
        done += students
        lab.progress("students", done, total, "")

    for outer_seed, keys in by_seed.items():
        records = run(parameters, device=lab.device, outer_seeds=[outer_seed], advance=advance)
        found = {tuple(getattr(record, name) for name in CASE): record for record in records}
        for key in keys:
            yield key, found[tuple(key.parameters[name] for name in CASE)]
