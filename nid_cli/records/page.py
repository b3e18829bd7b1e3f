"""``docs/records.md``, made from the declarations: ``python -m nid_cli.records.page > docs/records.md``."""

from __future__ import annotations

import sys
from collections.abc import Iterator

from nid_cli.records.align import Aligned
from nid_cli.records.base import Column, Record
from nid_cli.records.coherence import Coherence
from nid_cli.records.cost import MahalanobisCost, RidgeCost
from nid_cli.records.figures import FigureFile, FigureListing
from nid_cli.records.group import GroupChange, GroupDetails, GroupSummary
from nid_cli.records.housekeeping import (
    BackedUp,
    Finding,
    Observation,
    Registered,
    RegistryPath,
    Restored,
    Tidied,
    Upgraded,
)
from nid_cli.records.lmc import Lmc
from nid_cli.records.match import Match
from nid_cli.records.merge import Merged
from nid_cli.records.ntk import Ntk, NtkPair
from nid_cli.records.similarity import Similarity
from nid_cli.records.sweep import ShippedSweep, SweepPart
from nid_cli.records.symmetries import PermutationPlaces
from nid_cli.records.synthetic import Synthetic
from nid_cli.records.table import Correlated, Joined
from nid_cli.records.training import TrainedModel

# Every kind of record, under the commands that give it, in the order of the page.
KINDS: dict[str, tuple[type[Record], ...]] = {
    "nid symmetries": (PermutationPlaces,),
    "nid lmc": (Lmc,),
    "nid match": (Match,),
    "nid similarity": (Similarity,),
    "nid merge": (Merged,),
    "nid cost": (MahalanobisCost, RidgeCost),
    "nid coherence": (Coherence,),
    "nid coherence synthetic": (Synthetic,),
    "nid ntk": (Ntk, NtkPair),
    "nid table": (Joined, Correlated),
    "nid align": (Aligned,),
    "nid train": (TrainedModel,),
    "nid sweep": (SweepPart, ShippedSweep),
    "nid group": (GroupSummary, GroupDetails, GroupChange),
    "nid register": (Registered,),
    "nid plot": (FigureFile, FigureListing),
    "nid db": (Finding, Tidied, RegistryPath, BackedUp, Restored, Upgraded),
    "nid doctor": (Observation,),
}

INTRODUCTION = """\
# Records

This page is made from the declarations in `nid_cli/records/`, by `python -m nid_cli.records.page > docs/records.md`; a
test holds it to them.

`--json` prints one document `{"schema": "nid.lmc/1", "records": [...]}`, and `--export FILE` writes the same records as
`.json`, `.jsonl`, `.csv` or `.parquet`. Fields marked *large* are matrices, or values by neuron, in files of their own:
`nid cost` puts them into `--json` and `--export`, `--columns` those that it names, and a notebook's `lab.results(...)`
always has them. In a `.csv` a record with matrices is one row for each pair of neurons (`i`, `j`, from 0). NaN is
written as null.

The rows that the `--export` of a figure writes (`nid.plot.NAME/1`) are not listed here. They are what it shows: means
(`_mean`) and standard deviations (`_sd`) of the fields below, with the results behind them (`result_ids`).
"""


def markdown() -> str:
    """The page."""
    return "\n".join([INTRODUCTION, *(line for command, kinds in KINDS.items() for line in _chapter(command, kinds))])


def _chapter(command: str, kinds: tuple[type[Record], ...]) -> Iterator[str]:
    schemas = dict.fromkeys(kind.schema for kind in kinds)
    yield f"## `{command}`: {', '.join(f'`{schema}`' for schema in schemas)}\n"
    for kind in kinds:
        said = " ".join(kind.__doc__.split()) if kind.__doc__ else ""
        yield (f"`{kind.schema}`: {said}\n" if len(schemas) > 1 else f"{said}\n")
        yield "| field | type | unit | meaning |\n|---|---|---|---|"
        yield from (_row(column) for column in kind.columns())
        yield ""


def _row(column: Column) -> str:
    kind = column.kind.replace("|", "\\|")
    large = " *Large.*" if column.large else ""
    return f"| `{column.name}` | `{kind}` | {column.unit} | {column.meaning}{large} |"


if __name__ == "__main__":
    sys.stdout.write(markdown())
