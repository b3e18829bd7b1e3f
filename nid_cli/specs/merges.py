"""The one table of ways to bring many models into one frame before their weights are averaged. No torch.

A new one is one entry here and one function ``(models) -> [permutation of each]`` of ``analysis.merging.Models``.
"""

from __future__ import annotations

from dataclasses import dataclass

from nid_cli.specs.alignments import ByWeights, NoParameters
from nid_cli.specs.canonical import Canonical


@dataclass(frozen=True, kw_only=True)
class Merge:
    """One way, by its ``name`` in options and records and its ``label`` in figures.

    ``function`` is ``module:name``; None leaves all models as they are. ``parameters`` are part of a result's key.
    ``reference``: who proposed it.
    """

    name: str
    label: str
    function: str | None = None
    reference: str = ""
    parameters: Canonical


@dataclass(frozen=True, kw_only=True)
class ByCycle(ByWeights):
    """The most steps of Frank-Wolfe from each start, and so many random starts beside those that are computed."""

    steps: int = 50
    random_starts: int = 2


MERGES: dict[str, Merge] = {
    merge.name: merge
    for merge in (
        Merge(name="none", label="no alignment", parameters=NoParameters()),
        Merge(
            name="first",
            label="matched to the first",
            function="nid_cli.analysis.merging:first",
            reference="Ainsworth et al. 2023, section 3.2",
            parameters=ByWeights(),
        ),
        Merge(
            name="many",
            label="MergeMany",
            function="nid_cli.analysis.merging:many",
            reference="Ainsworth et al. 2023, appendix",
            parameters=ByWeights(),
        ),
        Merge(
            name="cycle",
            label="cycle-consistent",
            function="nid_cli.analysis.cycle_consistent:cycle",
            reference="Crisostomi et al. 2024",
            parameters=ByCycle(),
        ),
    )
}
