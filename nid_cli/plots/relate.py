"""The relate figure: one measured quantity against another, one mark a group and epoch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.figure import Figure

from nid_cli.plots import style
from nid_cli.plots.rows import IDENTITY, Drawn
from nid_cli.records.base import Row
from nid_cli.records.table import Correlated, Joined
from nid_cli.specs import Kappa

# A group's marker says its family: these, and whether its models were one network once. Its colour is as everywhere.
FAMILY = ("arch", "dataset", "width", "depth")


def table(
    records: Sequence[Row],
    x: str,
    y: str,
    log: tuple[bool, bool] = (False, False),
    correlation: Correlated | None = None,
) -> list[Drawn]:
    """One row for each mark: the group and epoch with both values."""
    return [
        {"result_ids": r["result_ids"]} | {name: r[name] for name in IDENTITY if name in r} | {x: r[x], y: r[y]}
        for r in records
    ]


def draw(
    records: Sequence[Row],
    x: str,
    y: str,
    log: tuple[bool, bool] = (False, False),
    correlation: Correlated | None = None,
    columns: int | None = None,
) -> Figure:
    """y over x; colours say symmetry type and kappa, markers the family, and the title how well the ranks agree.

    Args:
        records: rows of ``nid.table/1`` with their groups' settings. log: whether each axis is logarithmic.
        correlation: of all rows, where there are groups enough.
    """
    columns = columns or 1
    families = _families(records)
    headings = {column.name: column.heading for column in Joined.columns()}
    with style.styled():
        figure = style.new_figure(columns, 2.7)
        axis = figure.subplots()
        for record in records:
            look = style.look(record)
            hollow = not Kappa.of(record["kappa"]).numbers or look["linestyle"] == "--"
            axis.plot(
                record[x], record[y], marker=families[_family(record)][0], color=look["color"], linestyle="",
                markersize=5, markeredgewidth=0.8, fillstyle="none" if hollow else "full", alpha=0.85, clip_on=False,
                label="_mark",
            )  # fmt: skip
        for name, logarithmic, set_scale in zip((x, y), log, (axis.set_xscale, axis.set_yscale), strict=True):
            if logarithmic:
                _scale([record[name] for record in records], set_scale)
        axis.set_xlabel(headings[x])
        axis.set_ylabel(headings[y])
        axis.margins(0.06)
        axis.grid(color="0.92", linewidth=0.5)
        if correlation is not None and correlation.spearman is not None:
            axis.set_title(_said(correlation))
        style.legend(figure, _key(records, families))
    return figure


def _scale(values: Sequence[float], set_scale: Any) -> None:
    """Logarithmic, with a linear part below the least positive value where some are none."""
    positive = [value for value in values if value > 0]
    if len(positive) == len(values):
        set_scale("log")
    elif positive:
        set_scale("symlog", linthresh=min(positive))


def _said(found: Correlated) -> str:
    assert found.spearman_interval is not None
    low, high = found.spearman_interval
    return rf"Spearman {found.spearman:.2f} ({low:.2f} to {high:.2f}), {found.groups} groups"


def _family(record: Row) -> tuple[Any, ...]:
    return (*(record[name] for name in FAMILY), record["spawn_epoch"] is not None)


def _families(records: Sequence[Row]) -> dict[tuple[Any, ...], tuple[str, str]]:
    """For each family its marker and its name: only what tells it from others (of its architecture)."""
    known = list(dict.fromkeys(_family(record) for record in records))
    names = {}
    for index, own in enumerate(known):
        alike = [other for other in known if other[0] == own[0]]
        told = [n for n in range(len(FAMILY)) if len({other[n] for other in (alike if n else known)}) > 1]
        parts = [_word(FAMILY[place], own[place]) for place in told] + (["spawned"] if own[-1] else [])
        names[own] = (style.MARKERS[index % len(style.MARKERS)], ", ".join(filter(None, parts)))
    return names


def _word(name: str, value: Any) -> str:
    if value is None:
        return ""
    if name == "arch":
        return style.NETWORKS.get(value, style.literal(str(value)))
    return style.WORDS[name](value)


def _key(records: Sequence[Row], families: dict[tuple[Any, ...], tuple[str, str]]) -> dict[str, Any]:
    """What markers and colours mean."""
    key = {}
    if len(families) > 1:
        for marker, name in families.values():
            key[name or "from seeds of their own"] = style.key_line(
                marker=marker, color=style.GREY, linestyle="", markersize=5
            )
    for symmetry in dict.fromkeys(record["symmetry"] for record in records):
        own = sorted((r for r in records if r["symmetry"] == symmetry), key=lambda r: Kappa.of(r["kappa"]).order)
        for record in dict.fromkeys((_name(own[0]), _name(own[-1]))):
            shown = next(r for r in own if _name(r) == record)
            hollow = style.look(shown)["linestyle"] == "--" or not Kappa.of(shown["kappa"]).numbers
            key[record] = style.key_line(
                marker="o", linestyle="", markersize=5, color=style.look(shown)["color"],
                fillstyle="none" if hollow else "full",
            )  # fmt: skip
    return key


def _name(record: Row) -> str:
    """Symmetry type and kappa, without the architecture."""
    kappa = Kappa.of(record["kappa"]).numbers
    shown = ", ".join(map(style.number, kappa))
    return f"{record['symmetry']}" + (rf", $\kappa = {shown}$" if kappa else "")
