"""What analyses may be asked to do, by name: similarities, estimates, solvers. No torch: functions by reference."""

from __future__ import annotations

from dataclasses import dataclass

# How neurons are compared: functions of streamed moments, (CrossMoments) -> n x m similarities.
SIMILARITIES: dict[str, str] = {
    "pearson": "nid_cli.analysis.moments:CrossMoments.pearson",
    "dot": "nid_cli.analysis.moments:CrossMoments.dot",
}

# What the updates of a network count from (docs/science.md, 12): its initialization, or the saved epoch before.
SINCE = ("init", "previous")

# How realization costs are estimated (docs/science.md, 6 and 7).
METHODS = ("mahalanobis", "ridge")

# How the statistics of merged networks are known to their repair (docs/science.md, 15): a function each.
REPAIRS: dict[str, str] = {
    "exact": "nid_cli.analysis.repair:exact",
    "closed": "nid_cli.analysis.repair:closed",
}


@dataclass(frozen=True, kw_only=True)
class Solver:
    """A solver of the ridge fits: ``function(layer, betas, iterations, tolerance)``, and its usual iterations."""

    function: str
    iterations: int


SOLVERS: dict[str, Solver] = {
    "lbfgs": Solver(function="nid_cli.analysis.ridge_solvers:lbfgs", iterations=500),
    "adamw": Solver(function="nid_cli.analysis.ridge_solvers:adamw", iterations=3000),
}

# How the inputs of the synthetic experiment are embedded: (copies, active, outer seed, axis-aligned) -> frame.
FAMILIES: dict[str, str] = {
    "exact_copy": "nid_cli.analysis.synthetic:exact_copy",
    "random_tight_frame": "nid_cli.analysis.synthetic:random_tight_frame",
}
