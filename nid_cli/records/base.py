"""What a record is: one frozen dataclass for each kind of record, whose fields say what they hold and in what unit.

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
    kind: str = "",
    large: bool = False,
    default: Any = MISSING,
) -> Any:
    """Declares a field of a record; ``meaning`` is one sentence.

    Args:
        name: the column's, where it is not the field's.
        kind: the type of what exports hold, where it is not that of the field.
    """
    said = {"meaning": meaning, "unit": unit, "title": title, "name": name, "kind": kind, "large": large}
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
    def defaults(cls) -> dict[str, Any]:
        """The fields that older records may lack, with the values that those are read with (large ones excepted)."""
        return {name: value for name, value in _defaults(cls) if name not in cls.large()}

    @classmethod
    def large(cls) -> frozenset[str]:
        """The names of the columns that are kept apart."""
        return frozenset(column.name for column in _columns(cls) if column.large)


def _columns(
    kind: type, prefix: str = "", words: str = "", title: str = "{}", optional: bool = False
) -> Iterator[Column]:
    """The columns of a dataclass; ``optional``: those of a part that may be None, whose columns all are None then."""
    for declared in fields(kind):
        said = declared.metadata
        if "nested" in said:
            absent = optional or declared.default is None
            yield from _columns(said["nested"], prefix + said["prefix"], said["words"], said["title"], absent)
            continue
        shown = said["kind"] or str(declared.type)
        shown += " | None" if optional and "None" not in shown else ""
        meaning = f"{said['meaning']} ({words})." if words else f"{said['meaning']}."
        titled = title.format(said["title"]) if said["title"] else ""
        yield Column(prefix + (said["name"] or declared.name), shown, meaning, said["unit"], titled, said["large"])


def _defaults(kind: type, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The defaults of fields by the names of their columns; a part that may be None has None in all of its own."""
    for declared in fields(kind):
        if "nested" in declared.metadata:
            part, inner = declared.metadata["nested"], prefix + declared.metadata["prefix"]
            if declared.default is None:
                yield from ((column.name, None) for column in _columns(part, inner))
            else:
                yield from _defaults(part, inner)
        elif declared.default is not MISSING:
            yield prefix + (declared.metadata["name"] or declared.name), declared.default


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
    Column("symmetry", "str", "The symmetry type, by its name in `--symmetry`."),
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
MANY = (
    RESULT,
    *GROUP,
    EPOCH,
    Column(
        "models", "list[int]", "The models' numbers in their group, from 1; the first one's order of neurons is kept."
    ),
)
LINEAGE = Column(
    "lineage",
    "dict",
    "Where the result comes from: parameters, checkpoints (SHA-256), seeds, data fingerprint, versions, commit, "
    "command and time, and the sweep (name and hash) that the command was a part of, if any.",
)
