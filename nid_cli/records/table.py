"""The one table that joins what was measured, group by group and epoch by epoch (docs/science.md, 16).

What joins is data: one :class:`Source` for each analysis. A new analysis is one entry.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from nid_cli.records.base import GROUP, Column, Record, column
from nid_cli.records.coherence import Coherence
from nid_cli.records.cost import MahalanobisCost
from nid_cli.records.lmc import Curve, Lmc
from nid_cli.records.match import Match
from nid_cli.records.merge import Merged
from nid_cli.records.ntk import Ntk, NtkPair
from nid_cli.records.similarity import Similarity
from nid_cli.specs import ALIGNMENTS, MERGES, SPLITS
from nid_cli.specs.alignments import Alignment
from nid_cli.specs.merges import Merge


@dataclass(frozen=True, kw_only=True)
class Source:
    """What the table takes of one analysis: the mean of each field over its results of a group and epoch.

    ``fields``: by the column's name the field, or two of which it is the ratio. ``aligned``: there is a column for each
    of these alignments, ``COLUMN_ALIGNMENT`` (that of no alignment has the name alone). ``layers``: the results are of
    layers, of which the one that gives the network's outputs is left out. ``unaligned``: fields that no alignment
    changes, with one column each. ``richer``: parameters whose results hold the same values, and more.
    """

    record: type[Record]
    fields: Mapping[str, tuple[str, ...]]
    aligned: Mapping[str, Alignment | Merge] = field(default_factory=dict)
    layers: bool = False
    unaligned: frozenset[str] = frozenset()
    richer: tuple[Mapping[str, Any], ...] = ()


def _alike(*names: str) -> dict[str, tuple[str, ...]]:
    return {name: (name,) for name in names}


_CURVE = [declared.name for declared in fields(Curve) if declared.type == "float"] + ["calibrated_loss_barrier"]
_PREDICTED = tuple(
    f"{split}_{name}" for split in SPLITS for name in ("agreement", "jensen_shannon", "logit_cosine", "error_overlap")
)

SOURCES: dict[str, Source] = {
    "lmc": Source(
        record=Lmc,
        fields=_alike(*(f"{split}_{name}" for split in SPLITS for name in _CURVE), "distance", "normalized_distance"),
        aligned=ALIGNMENTS,
        richer=({"anatomy": True}, {"anatomy": True, "per_sample": True}),
    ),
    "match": Source(
        record=Match,
        fields=_alike("share_identity", "optimal", "identity") | {"identifiability": ("identity", "optimal")},
    ),
    "cost": Source(
        record=MahalanobisCost,
        fields=_alike("swap_index") | {"median_swap_squared": ("swap_squared_median",)},
        layers=True,
    ),
    "coherence": Source(
        record=Coherence, fields=_alike("coherence") | {"anisotropy": ("anisotropy_mean",)}, layers=True
    ),
    "merge": Source(
        record=Merged,
        fields={f"merge_{split}_{name}": (f"{split}_{name}",) for split in SPLITS for name in ("loss", "accuracy")},
        aligned=MERGES,
    ),
    "ntk": Source(
        record=Ntk,
        fields={f"ntk_{name}": (name,) for name in ("trace", "effective_rank", "init_cka", "init_change")}
        | _alike("linear_relative_error", "linear_agreement"),
    ),
    "ntk-pairs": Source(record=NtkPair, fields={"ntk_cka": ("cka",), "ntk_cosine": ("cosine",)}),
    "similarity": Source(
        record=Similarity,
        fields=_alike(*_PREDICTED, "update_cosine"),
        aligned=ALIGNMENTS,
        unaligned=frozenset(_PREDICTED),
    ),
}

# Fields that older results, or plain ones, lack, by their ending: the parameters that measure them (none: computing
# again does).
LATE: dict[str, dict[str, Any]] = {"swap_index": {}, "calibrated_loss_barrier": {"anatomy": True}}

RATIOS = {"identifiability": "Identity objective over optimal objective: 1 where neurons are where they belong."}


@dataclass(frozen=True)
class Place:
    """Where a column of the table comes from: fields of the results of one analysis, under one alignment if any."""

    analysis: str
    fields: tuple[str, ...]
    align: str | None


def _places() -> dict[str, Place]:
    found: dict[str, Place] = {}
    for analysis, source in SOURCES.items():
        for align in source.aligned or (None,):
            suffix = f"_{align}" if align not in (None, "none") else ""
            own = {name: fields for name, fields in source.fields.items() if not suffix or name not in source.unaligned}
            found |= {name + suffix: Place(analysis, fields, align) for name, fields in own.items()}
    return found


PLACES: dict[str, Place] = _places()


def _declared(name: str, place: Place) -> Column:
    columns = {own.name: own for own in SOURCES[place.analysis].record.columns()}
    first = columns[place.fields[0]]
    meaning = RATIOS[name] if len(place.fields) > 1 else first.meaning
    said = "" if place.align is None else f" ({SOURCES[place.analysis].aligned[place.align].label})"
    # A title says what a field is within its own records; elsewhere the column's name says it better.
    plain = name.removesuffix(f"_{place.align}") if place.align not in (None, "none") else name
    title = first.title if place.fields == (plain,) else plain.replace("_", " ")
    title = f"{title or plain.replace('_', ' ')}, {place.align}" if plain != name else title
    return Column(name, "float | None", meaning[:-1] + said + ".", first.unit, title)


EPOCH = Column("epoch", "int", "The epoch of the checkpoints.")
SETTINGS = (
    Column("models", "int", "How many models are selected."),
    Column("width", "int | None", "Hidden units; of a resnet w, for 16w channels."),
    Column("depth", "int | None", "Linear layers; of a resnet 6n + 2."),
    Column("fixed_share", "float", "The share of all weights that is fixed."),
    Column("spawn_epoch", "int | None", "The epoch until which the models were one network."),
)
RESULTS = Column("result_ids", "list[str]", "The results that the row is made of.")


@dataclass(frozen=True, kw_only=True)
class Joined(Record):
    """One group at one epoch: for each column the mean over its models, pairs and layers; null where nothing is
    recorded."""

    schema = "nid.table/1"
    about = (*GROUP, EPOCH, *SETTINGS)

    @classmethod
    def columns(cls) -> tuple[Column, ...]:
        """What a row is about, and a column for each of ``PLACES``."""
        return (*cls.about, *(_declared(name, place) for name, place in PLACES.items()), RESULTS)


# What is shown where no columns are chosen.
USUAL = (
    "test_error_barrier",
    "test_error_barrier_activation",
    "share_identity",
    "identifiability",
    "swap_index",
    "median_swap_squared",
    "coherence",
    "anisotropy",
    "distance",
)


@dataclass(frozen=True, kw_only=True)
class Correlated(Record):
    """Two columns over the groups that have both: rank correlations, each with its 95 % bootstrap interval over groups;
    null where one side does not vary."""

    schema = "nid.correlation/1"

    x: str = column("One column of the table")
    y: str = column("The other one")
    given: str | None = column("The column whose ranks were taken out of both, for the partial correlation")
    among: str = column("Among which groups: all, or those that share a value")
    groups: int = column("How many groups have both", title="groups")
    rows: int = column("How many rows these have: groups at their epochs", title="rows")
    spearman: float | None = column("Spearman's rank correlation")
    spearman_interval: list[float] | None = column("Its interval", title="95 %")
    kendall: float | None = column("Kendall's tau-b")
    kendall_interval: list[float] | None = column("Its interval", title="95 %")
    partial: float | None = column("Spearman's partial correlation given the third column", title="partial")
    partial_interval: list[float] | None = column("Its interval", title="95 %")
    partial_groups: int | None = column("How many groups have the third column too; fewer than four have no value")
    missing: list[str] = column("The groups that lack one of the two, and are left out")
