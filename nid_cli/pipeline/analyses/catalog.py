"""The one table of analyses. No torch: what computes is a reference.

An analysis is one value: everything that handles results (requests, keys, records, exports, figures, notebooks, the
report) reads it here.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from nid_cli.analysis.parameters import (
    CoherenceParameters,
    CostParameters,
    KernelParameters,
    LmcParameters,
    MatchParameters,
    MergeParameters,
    NtkParameters,
    Parameters,
    SimilarityParameters,
)
from nid_cli.analysis.synthetic_settings import SyntheticSettings
from nid_cli.records.base import LINEAGE, Record
from nid_cli.records.coherence import Coherence
from nid_cli.records.cost import MahalanobisCost, RidgeCost
from nid_cli.records.lmc import Lmc
from nid_cli.records.match import Match
from nid_cli.records.merge import Merged
from nid_cli.records.ntk import Ntk, NtkPair
from nid_cli.records.similarity import Similarity
from nid_cli.records.synthetic import Synthetic

# What one result is about, and how many models that takes at least.
SCOPES = {"many": 2, "pair": 2, "model": 1, "none": 0}


@dataclass(frozen=True, kw_only=True)
class Analysis:
    """One analysis.

    ``name`` is what its results are recorded as, ``command`` the words of its command. ``scope``: one of ``SCOPES``.
    ``compute`` is ``module:function`` of (lab, missing result keys, parameters); it yields (result key, record) in any
    order that does work in common once. ``paths``: of pairs, whether two epochs of one model are one too (the record
    says ``epoch_a`` then). ``refuse`` is ``module:function`` of (stock, missing result keys); it raises a
    UsageError where the data do not have what is asked for, before anything is computed or recorded. ``by_pairs``: its
    command measures models one by one unless ``--pairs`` is given. ``version`` is raised when a definition changes, so
    that older numbers are not taken for current ones.
    """

    name: str
    command: str
    parameters: type[Parameters]
    records: tuple[type[Record], ...]
    scope: str
    compute: str
    paths: bool = False
    refuse: str | None = None
    by_pairs: bool = False
    version: int = 1

    @property
    def large(self) -> frozenset[str]:
        """The fields of its records that are kept in files of their own."""
        return frozenset().union(*(record.large() for record in self.records))

    def complete(self, values: dict[str, Any]) -> dict[str, Any]:
        """A record with the fields that were declared after it was made, at their defaults."""
        for required, defaults in self._kinds:
            if required <= values.keys():
                return values | {name: usual for name, usual in defaults.items() if name not in values}
        return values

    @cached_property
    def _kinds(self) -> list[tuple[frozenset[str], dict[str, Any]]]:
        """For each kind of its records the fields that all of them have, and the defaults of the others."""
        known = []
        for kind in self.records:
            about, defaults = {column.name for column in kind.about}, kind.defaults()
            own = {column.name for column in kind.columns() if column != LINEAGE} - about - kind.large()
            known.append((frozenset(own - defaults.keys()), defaults))
        return known

    @cached_property
    def defaults(self) -> dict[str, Any]:
        """The defaults of fields that are the same in all kinds of its records."""
        first, *others = (defaults for _, defaults in self._kinds)
        return {name: value for name, value in first.items() if all(own.get(name, ...) == value for own in others)}

    @cached_property
    def whole(self) -> frozenset[str]:
        """The columns that are read from whole records alone."""
        several = {name for _, own in self._kinds for name in own if own[name] is not None} - self.defaults.keys()
        return self.large | several | {LINEAGE.name}


ANALYSES: dict[str, Analysis] = {
    analysis.name: analysis
    for analysis in (
        Analysis(
            name="lmc",
            command="lmc",
            parameters=LmcParameters,
            records=(Lmc,),
            scope="pair",
            compute="nid_cli.pipeline.analyses.lmc:compute",
            paths=True,
        ),
        Analysis(
            name="match",
            command="match",
            parameters=MatchParameters,
            records=(Match,),
            scope="pair",
            compute="nid_cli.pipeline.analyses.match:compute",
        ),
        Analysis(
            name="similarity",
            command="similarity",
            parameters=SimilarityParameters,
            records=(Similarity,),
            scope="pair",
            compute="nid_cli.pipeline.analyses.similarity:compute",
        ),
        Analysis(
            name="merge",
            command="merge",
            parameters=MergeParameters,
            records=(Merged,),
            scope="many",
            compute="nid_cli.pipeline.analyses.merge:compute",
        ),
        Analysis(
            name="cost",
            command="cost",
            parameters=CostParameters,
            records=(MahalanobisCost, RidgeCost),
            scope="model",
            compute="nid_cli.pipeline.analyses.cost:compute",
        ),
        Analysis(
            name="coherence",
            command="coherence",
            parameters=CoherenceParameters,
            records=(Coherence,),
            scope="model",
            compute="nid_cli.pipeline.analyses.coherence:compute",
        ),
        Analysis(
            name="ntk",
            command="ntk",
            parameters=NtkParameters,
            records=(Ntk,),
            scope="model",
            compute="nid_cli.pipeline.analyses.ntk:compute",
            refuse="nid_cli.pipeline.analyses.ntk:refuse",
        ),
        Analysis(
            name="ntk-pairs",
            command="ntk",
            parameters=KernelParameters,
            records=(NtkPair,),
            scope="pair",
            compute="nid_cli.pipeline.analyses.ntk:compute_pairs",
            refuse="nid_cli.pipeline.analyses.ntk:refuse",
            by_pairs=True,
        ),
        Analysis(
            name="synthetic",
            command="coherence synthetic",
            parameters=SyntheticSettings,
            records=(Synthetic,),
            scope="none",
            compute="nid_cli.pipeline.analyses.synthetic:compute",
        ),
    )
}
