"""The barrier figure: how high the barrier is against kappa, share of fixed weights, epoch or a data parameter."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure

from nid_cli.plots import against as x_axis
from nid_cli.plots import lines, style
from nid_cli.plots.lmc import correction, inapplicable, repaired
from nid_cli.plots.rows import Drawn, cells, head, spreads
from nid_cli.records.base import Row
from nid_cli.specs import ALIGNMENTS

# The three definitions of the literature: the key's ending, and what the barrier is measured from.
KINDS = {"chord": "", "max": "_max", "mid": "_mid"}
WORDS = {"chord": "", "max": "above the worse end", "mid": "at the midpoint"}
QUANTITIES = {"error_barrier": ("error barrier", "(points)"), "loss_barrier": ("loss barrier", "")}
# Dashes and markers of the alignments, in the order of their table.
LOOKS: tuple[lines.Look, ...] = (("-", "o"), ("--", "s"), (":", "^"), ("-.", "D"), ((0, (1, 2)), "v"))


def table(records: Sequence[Row], against: str = "kappa", split: str = "train", kind: str = "chord") -> list[Drawn]:
    """What is drawn: for each group, epoch and alignment its place on the axis, and mean and sd over pairs."""
    usable = [r for r in records if r["status"] == "ok"]
    series = x_axis.series(usable, against)
    names = [f"{split}_{quantity}{KINDS[kind]}" for quantity in QUANTITIES]
    return [
        head(own)
        | {"series": series[group, epoch], "align": align, "against": against, "x": x_axis.value(own[0], against)}
        | repaired(own)
        | spreads(own, *names)
        for (group, epoch, align), own in cells(usable, "group", "epoch", "align").items()
    ]


def draw(
    records: Sequence[Row],
    against: str = "kappa",
    split: str = "train",
    kind: str = "chord",
    columns: int | None = None,
) -> Figure:
    """Two panels, error and loss barrier: a line for each family of groups and alignment, bars of one sd over pairs.

    Args:
        records: ``nid.lmc/1`` records with their groups' settings.
        against: see :mod:`nid_cli.plots.against`.
        kind: ``chord``, ``max`` or ``mid``.
    """
    rows = table(records, against, split, kind)
    columns = columns or 2
    alignments = lines.present(ALIGNMENTS, (row["align"] for row in rows))
    looks = {align: LOOKS[list(ALIGNMENTS).index(align) % len(LOOKS)] for align in alignments}
    with style.styled():
        figure = style.new_figure(columns, 2.2 if columns == 2 else 4.2)
        axes = figure.subplots(*((1, 2) if columns == 2 else (2, 1)), sharex=True)
        filled = lines.fills(rows)
        for axis, (quantity, (title, unit)) in zip(axes, QUANTITIES.items(), strict=True):
            for align in alignments:
                own = [row for row in rows if row["align"] == align]
                lines.draw(axis, own, f"{split}_{quantity}{KINDS[kind]}", looks[align], filled)
            lines.finish(axis, rows, against)
            axis.set_ylim(bottom=min(axis.get_ylim()[0], 0))
            axis.set_ylabel(f"{style.SPLITS[split]} {title}\n{WORDS[kind]} {unit}".strip())
        if columns == 1:
            axes[0].set_xlabel("")
        how = f", {words}" if (words := correction(records)) else ""
        labels = {a: ALIGNMENTS[a].label + how + _except(inapplicable(records, a)) for a in alignments}
        style.legend(figure, lines.handles(rows, looks, labels))
    return figure


def _except(names: str) -> str:
    return f" (not {names})" if names else ""
