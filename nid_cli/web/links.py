"""Selections as addresses: what the words of a query choose, and the address of a page about a selection."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from typing import Any
from urllib.parse import quote, urlencode

from nid_cli.pipeline.choices import one_of, selection
from nid_cli.specs import Selection
from nid_cli.web.guard import TOKEN

# The selectors of several values, and those of one, as the command line has them.
SEVERAL = tuple(field.name for field in fields(Selection) if field.default == ())
ONE = tuple(field.name for field in fields(Selection) if field.default != ())

Words = Sequence[tuple[str, str]]


def know(words: Words, *others: str) -> None:
    """Refuses words that mean nothing to a page: a mistyped filter would show everything.

    Raises:
        UsageError: one is no selector, and none of ``others``.
    """
    for name, _ in words:
        one_of("filter", name, [*SEVERAL, *ONE, *others, TOKEN])


def chosen(words: Words) -> Selection:
    """The selection that the words of a query make; empty ones choose nothing.

    Raises:
        UsageError: one cannot be read.
    """
    given: dict[str, Any] = {name: [own for n, own in words if n == name and own] for name in SEVERAL}
    given |= {name: own.strip() for name, own in words if name in ONE and own.strip()}
    return selection(**{name: own for name, own in given.items() if own})


def last(words: Words, name: str, usual: str = "") -> str:
    """The last value of a word."""
    return next((value for own, value in reversed(words) if own == name), usual)


def words_of(own: Selection) -> list[tuple[str, str]]:
    """The words that make a selection; defaults are left out."""
    words = [(name, str(value)) for name in SEVERAL for value in getattr(own, name)]
    usual = Selection()
    return words + [(name, getattr(own, name)) for name in ONE if getattr(own, name) != getattr(usual, name)]


def address(path: str, own: Selection | None = None, more: Mapping[str, Any] | Words = ()) -> str:
    """The address of a page about a selection; what is None or empty in ``more`` is left out."""
    pairs = more.items() if isinstance(more, Mapping) else more
    words = [*words_of(own or Selection()), *((n, str(value)) for n, value in pairs if value not in (None, ""))]
    return f"{path}?{urlencode(words)}" if words else path


def group_address(name: str) -> str:
    """The address of a group's page."""
    return f"/group/{quote(name, safe='')}"


def without(own: Selection, name: str, value: str | None = None) -> Selection:
    """The selection without one of its values, or without the selector."""
    left: Any = getattr(Selection(), name)
    if name in SEVERAL and value is not None:
        left = tuple(v for v in getattr(own, name) if str(v) != value)
    return replace(own, **{name: left})


def with_value(own: Selection, name: str, value: str) -> Selection:
    """The selection with one more value of a selector."""
    return chosen([*words_of(own), (name, value)])
