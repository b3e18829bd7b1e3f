"""Records: one frozen dataclass for each kind, from which exports, tables and ``docs/records.md`` come. No torch."""

from nid_cli.records.base import Column, Record, Row, column, nested
from nid_cli.records.coherence import Coherence
from nid_cli.records.cost import MahalanobisCost, RidgeCost
from nid_cli.records.lmc import Lmc
from nid_cli.records.match import Match
from nid_cli.records.merge import Merged
from nid_cli.records.ntk import Ntk, NtkPair
from nid_cli.records.similarity import Similarity
from nid_cli.records.synthetic import Synthetic

__all__ = [
    "Coherence",
    "Column",
    "Lmc",
    "MahalanobisCost",
    "Match",
    "Merged",
    "Ntk",
    "NtkPair",
    "Record",
    "RidgeCost",
    "Row",
    "Similarity",
    "Synthetic",
    "column",
    "nested",
]
