"""How templates are rendered: as the report's, with what a living page needs beside."""

from __future__ import annotations

from typing import Any

from jinja2 import Environment
from markupsafe import Markup, escape

from nid_cli.plots.page import environment as common


def environment(stamp: str) -> Environment:
    """The templates of ``templates/``; ``stamp`` changes with the files of ``static/``.

    Filters beside the report's: ``moment`` (a time in UTC, which the script puts into the reader's zone), ``compact``
    (a value for one line), ``percent`` (a share), ``rate`` (to three digits),
    ``meaning`` (a sentence whose `words` of the program are marked).
    """
    made = common("web/templates")
    made.filters |= {
        "moment": _moment,
        "compact": _compact,
        "percent": _percent,
        "rate": _rate,
        "meaning": _meaning,
        "words": _words,
    }
    made.globals["stamp"] = stamp
    return made


def _moment(iso: str | None, seconds: bool = False) -> Any:
    if not iso:
        return None
    shown, exact = iso[: 19 if seconds else 16].replace("T", " "), Markup(" data-seconds" if seconds else "")
    return Markup('<time datetime="{}" title="{} UTC"{}>{}</time>').format(iso, shown, exact, shown)


def _compact(value: Any) -> Any:
    """Long lists by their ends; everything else as the filter ``number`` has it."""
    if isinstance(value, list) and len(value) > 12:
        return f"{len(value)} values"
    return value


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.3g}"


def _rate(value: float | None) -> str | None:
    return None if value is None else f"{value:,.3g}" if value < 1000 else f"{value:,.0f}"


def _meaning(sentence: str) -> Any:
    parts = sentence.split("`")
    marked = [Markup("<code>{}</code>").format(part) if i % 2 else escape(part) for i, part in enumerate(parts)]
    return Markup("").join(marked)


def _words(name: str) -> Any:
    """A name with places where a line may break."""
    return Markup("<wbr>").join(escape(part) for part in _parts(name))


def _parts(name: str) -> list[str]:
    return [part + "-" for part in name.split("-")[:-1]] + [name.split("-")[-1]]
