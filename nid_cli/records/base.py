"""What a record is: one frozen dataclass for each schema, whose fields say what they hold and in what unit.

Exports, CSV headers, tables and ``docs/records.md`` are made from these declarations alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import MISSING, dataclass, field, fields
from typing import Any, ClassVar

# A record as it is read back, exported and drawn: flat, by the names of its columns.
Row = Mapping[str, Any]


@dataclass(frozen=True)
class Column:
    """One field of a record as exports name it.

    ``kind`` is its type in Python's notation; ``title`` is what a table calls it; ``unit`` is empty for pure numbers
    and text. ``large`` columns (matrices, values by neuron) are read only when they are asked for.
    """

    name: str
    kind: str
    meaning: str
    unit: str = ""
    title: str = ""
    large: bool = False

    @property
    def heading(self) -> str:
        """Its name above the column of a table, with the unit."""
        title = self.title or self.name.replace("_", " ")
        return f"{title} ({self.unit})" if self.unit else title


def column(
    meaning: str,
    unit: str = "",
    *,
    title: str = "",
    name: str = "",
    large: bool = False,
    default: Any = MISSING,
) -> Any:
    """Declares a field of a record; ``meaning`` is one sentence, ``name`` the column's where it is not the field's."""
    said = {"meaning": meaning, "unit": unit, "title": title, "name": name, "large": large}
    return field(default=default, metadata=said)


def nested(kind: type, *, prefix: str = "", words: str = "", title: str = "{}", default: Any = MISSING) -> Any:
    """Declares the fields of the dataclass ``kind``, flattened with ``prefix``.

    Args:
        words: which of several such parts it is, added to the meanings.
        title: how the parts' titles are said of this one.
    """
    return field(default=default, metadata={"nested": kind, "prefix": prefix, "words": words, "title": title})


@dataclass(frozen=True, kw_only=True)
class Record:
    """The values of one record."""

    schema: ClassVar[str]
    # The columns before the fields, which say what a record is about.
    about: ClassVar[tuple[Column, ...]] = ()

    def values(self) -> dict[str, Any]:
        """Its own fields, flat, in their order."""
        return dict(_values(type(self), self))

    @classmethod
    def columns(cls) -> tuple[Column, ...]:
        """All columns in the order of exports: what the record is about, its own fields, and its lineage."""
        return (*cls.about, *_columns(cls), *((LINEAGE,) if RESULT in cls.about else ()))

    @classmethod
    def large(cls) -> frozenset[str]:
        """The names of the columns that are kept apart."""
        return frozenset(column.name for column in _columns(cls) if column.large)


def _columns(kind: type, prefix: str = "", words: str = "", title: str = "{}") -> Iterator[Column]:
    for declared in fields(kind):
        said = declared.metadata
        if "nested" in said:
            yield from _columns(said["nested"], prefix + said["prefix"], said["words"], said["title"])
            continue
        meaning = f"{said['meaning']} ({words})." if words else f"{said['meaning']}."
        titled = title.format(said["title"]) if said["title"] else ""
        yield Column(
            prefix + (said["name"] or declared.name), str(declared.type), meaning, said["unit"], titled, said["large"]
        )


def _values(kind: type, record: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The flat values of a record, or of a part of one; those of a part that is None are all None."""
    for declared in fields(kind):
        value = getattr(record, declared.name) if record is not None else None
        if "nested" in declared.metadata:
            yield from _values(declared.metadata["nested"], value, prefix + declared.metadata["prefix"])
        else:
            yield prefix + (declared.metadata["name"] or declared.name), value


GROUP = (
    Column("group", "str", "The group's name."),
    Column("arch", "str", "The architecture."),
    Column("dataset", "str", "The data set."),
    Column("symmetry", "str", "The symmetry type, by its name in `nid train --symmetry`."),
    Column("kappa", "float | list[float] | None", "The scale of what is fixed: a number, one for each layer, or none."),
)
RESULT = Column("result_id", "str", "The result's identity: the first 16 digits of the hash of all that determines it.")
EPOCH = Column("epoch", "int", "The epoch of the checkpoints.")
MODEL = (RESULT, *GROUP, EPOCH, Column("model", "int", "The model's number in its group, from 1."))
PAIR = (
    RESULT,
    *GROUP,
    EPOCH,
    Column("model_a", "int", "The first model's number in its group, from 1."),
    Column("model_b", "int", "The second model's number in its group, from 1."),
)
LINEAGE = Column(
    "lineage",
    "dict",
    "Where the result comes from: parameters, checkpoints (SHA-256), seeds, data fingerprint, versions, commit, "
    "command and time.",
)
