"""One page for a group: what it is, its training, connectivity, matching, costs and coherence."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from nid_cli.plots import coherence, cost_distribution, lmc, match, style, swaps, training
from nid_cli.plots.rows import Drawn
from nid_cli.records.base import Row
from nid_cli.specs import ALIGNMENTS, EXTERNAL

# How alignments are dashed here (all curves have the group's colour), in the order of their table.
DASHES = ("-", "--", ":", "-.", (0, (1, 2)))
SHOWN = ("train", "test")
NORMS = {"none": "no norm"}
OPTIMIZERS = {"adamw": "AdamW", "adam": "Adam", "sgd": "SGD"}


def _parts(records: Sequence[Row]) -> dict[str, list[Row]]:
    return {name: [r for r in records if r["part"] == name] for name in TABLES}


def _lmc_rows(records: Sequence[Row]) -> list[Drawn]:
    return lmc.table(records, "train")


def _match_rows(records: Sequence[Row]) -> list[Drawn]:
    return match.table(records, "epoch") if records else []


TABLES: Mapping[str, Any] = {
    "training": training.table,
    "lmc": _lmc_rows,
    "match": _match_rows,
    "cost": cost_distribution.table,
    "coherence": coherence.table,
}


def table(records: Sequence[Row]) -> list[Drawn]:
    """What is drawn, part by part: the rows of the other figures, each with its ``part``."""
    return [{"part": name} | row for name, own in _parts(records).items() for row in TABLES[name](own)]


def describe(records: Sequence[Row]) -> tuple[str, str]:
    """A title, and a sentence or two on what the group is."""
    first = records[0]
    settings = first["settings"]
    models = {r[key] for r in records for key in ("model", "model_a", "model_b") if key in r}
    parameters = {name: value for name, value in settings["data"].items() if not name.endswith("_seed")}
    data = "".join(f", {style.parameter(name, value)}" for name, value in parameters.items())
    title = f"{style.label(first)}, on {style.WORDS['dataset'](settings['dataset'])}"
    said = [
        f"Group {style.literal(first['group'])}: {len(models)} model{'s' if len(models) > 1 else ''}, "
        f"{_network(settings)}{data}."
    ]
    if first.get("fixed_share"):
        said.append(f"{100 * first['fixed_share']:.3g} % of the weights are fixed.")
    said.append(_training_words(settings))
    measured = sorted({r["epoch"] for r in records if r["part"] != "training"})
    said.append(f"Measured at epoch {', '.join(map(str, measured))}.")
    return title, " ".join(said)


def _network(settings: Mapping[str, Any]) -> str:
    if settings.get("graph") is not None:
        return f"a network taken in from torch ({settings['graph'][:12]})"
    norm = NORMS.get(settings["norm"], f"{settings['norm']} norm")
    activation = style.ACTIVATIONS.get(settings["activation"], settings["activation"])
    return f"width {settings['width']}, depth {settings['depth']}, {norm}, {activation}"


def _training_words(settings: Mapping[str, Any]) -> str:
    if settings["optimizer"] == EXTERNAL:
        return "Trained elsewhere."
    if not settings["epochs"]:
        return "Untrained."
    return (
        f"Trained for {settings['epochs']} epochs with {OPTIMIZERS[settings['optimizer']]}, learning rate "
        f"{settings['lr']:g}, weight decay {settings['weight_decay']:g}, batches of {settings['batch_size']}."
    )


def draw(records: Sequence[Row], columns: int | None = None) -> Figure:
    """Eight panels under a description; two in each row, or one in the width of one column.

    Args:
        records: of one group, each with its ``part`` (a key of ``TABLES``) and its group's settings.
    """
    columns = columns or 2
    parts = _parts(records)
    rows = {name: TABLES[name](own) for name, own in parts.items()}
    title, text = describe(records)
    with style.styled():
        lines = textwrap.wrap(text, 118 if columns == 2 else 56)
        head = 0.35 + 0.14 * len(lines)
        down = 4 if columns == 2 else 8
        height = head + down * (1.75 if columns == 2 else 1.15)
        figure = style.new_figure(columns, height)
        halves: Any = figure.subfigures(2, 1, height_ratios=[head, height - head])
        upper, lower = halves
        upper.text(0.01, 1 - 0.06 / head, title, fontsize=10, va="top")
        upper.text(0.01, 1 - 0.27 / head, "\n".join(lines), fontsize=7, va="top", linespacing=1.25)
        axes = lower.subplots(down, columns).ravel()
        _training(axes[:2], parts["training"])
        _connectivity(axes[2:4], parts["lmc"], rows["lmc"])
        _matching(axes[4], rows["match"])
        _costs(axes[5], rows["cost"])
        _coherence(axes[6:], rows["coherence"])
        for axis in axes:
            axis.grid(color="0.92", linewidth=0.5)
            axis.set_axisbelow(True)
            _legend(axis)
    return figure


def _legend(axis: Any) -> None:
    """What the panel's artists are called, between its title and itself."""
    handles, names = axis.get_legend_handles_labels()
    if not names:
        return
    unique = dict(zip(names, handles, strict=True))
    axis.set_title(axis.get_title(), pad=15)
    above = {"loc": "lower center", "bbox_to_anchor": (0.5, 0.97), "borderpad": 0.2, "columnspacing": 1.2}
    axis.legend(unique.values(), unique.keys(), ncols=len(unique), **above)


def _say(axis: Any, text: str) -> None:
    """A panel without data says why."""
    axis.text(0.5, 0.5, text, transform=axis.transAxes, ha="center", va="center", fontsize=7, color="0.35")
    axis.set_xticks([])
    axis.set_yticks([])


def _training(axes: Any, records: Sequence[Row]) -> None:
    for axis, (quantity, title) in zip(axes, training.QUANTITIES.items(), strict=True):
        axis.set_title("training: " + title)
        if not any(r["epoch"] > 0 for r in records):
            _say(axis, "not trained here")
            continue
        for split, dash in zip(SHOWN, ("-", "--"), strict=True):
            training.curves(axis, records, f"{split}_{quantity}", text=style.SPLITS[split], dash=dash)
        axis.set_xlabel("epoch")


def _connectivity(axes: Any, records: Sequence[Row], rows: Sequence[Drawn]) -> None:
    for axis, (quantity, title) in zip(axes, lmc.QUANTITIES.items(), strict=True):
        axis.set_title(f"linear mode connectivity: train {title}")
        if not rows:
            _say(axis, "a single model has no pairs")
            continue
        for row in rows:
            look = {"color": style.look(row)["color"], "linestyle": _dash(row["align"])}
            lmc.band(axis, row, f"train_{quantity}", ALIGNMENTS[row["align"]].label, look)
        for align in (name for name in ALIGNMENTS if lmc.inapplicable(records, name)):
            said = f"{ALIGNMENTS[align].label}: does not apply"
            axis.plot([], [], color=style.GREY, linestyle=_dash(align), label=said)
        lmc.finish(axis)
        axis.set_xlabel(r"interpolation $\lambda$")


def _dash(align: str) -> Any:
    return DASHES[list(ALIGNMENTS).index(align) % len(DASHES)]


def _layer_axis(axis: Any, layers: Sequence[Any], title: str) -> None:
    names = ["all" if layer == match.POOLED else style.short_layer(layer) for layer in layers]
    axis.set_xticks(range(len(layers)), names, rotation=90 if max(map(len, names)) > 6 else 0)
    axis.set_xlim(-0.5, len(layers) - 0.5)
    axis.set_xlabel(title)


def _matching(axis: Any, rows: Sequence[Drawn]) -> None:
    axis.set_title("matching: mean correlation of matched neurons")
    if not rows:
        _say(axis, "a single model has no pairs")
        return
    for place, row in enumerate(rows):
        colour = style.look(row)["color"]
        if "random_mean_mean" in row:
            low, high = (row["random_mean_mean"] + sign * 2 * row["random_sd_mean"] for sign in (-1, 1))
            axis.fill_between([place - 0.3, place + 0.3], low, high, color="0.8", linewidth=0, label="random (±2 sd)")
        for shift, (kind, (_, marker)) in zip((-0.1, 0.1), match.LOOKS.items(), strict=True):
            axis.errorbar(
                place + shift, row[f"{kind}_mean"], yerr=row[f"{kind}_sd"], color=colour, marker=marker,
                fillstyle="full" if kind == "optimal" else "none", linestyle="", elinewidth=0.7,
                label=kind,
            )  # fmt: skip
    _layer_axis(axis, [row["layer"] for row in rows], "hidden layer")


def _costs(axis: Any, rows: Sequence[Drawn]) -> None:
    axis.set_title(f"swap costs {swaps.TITLE}, Mahalanobis")
    for place, row in enumerate(rows):
        colour = style.look(row)["color"]
        axis.plot([place] * 2, [row["q05"], row["q95"]], color=colour, linewidth=0.8, label="5 % to 95 %")
        axis.plot([place] * 2, [row["q25"], row["q75"]], color=colour, linewidth=3.5, label="quartiles")
        axis.plot(place, row["median"], "o", color="white", markeredgecolor=colour, label="median")
    _layer_axis(axis, [row["layer"] for row in rows], "layer")
    axis.axhline(0, color="0.7", linewidth=0.6, zorder=0)


def _coherence(axes: Any, rows: Sequence[Drawn]) -> None:
    titles = {"coherence": r"coherence $\nu(U)$", "anisotropy_mean": r"anisotropy $\Vert S_i - p I\Vert_2$"}
    for axis, (name, title) in zip(axes, titles.items(), strict=True):
        own = [row for row in rows if f"{name}_mean" in row]
        coherence.points(axis, np.arange(len(own)), own, name, "mean over models", "o")
        for line in axis.get_lines():
            line.set_label(coherence.WORDS.get(str(line.get_label()).removeprefix("_"), line.get_label()))
        axis.set_title(title)
        if not any(row[f"{name}_mean"] for row in own):
            axis.clear()
            axis.set_title(title)
            _say(axis, "no weights are fixed by a mask")
            continue
        axis.set_ylim(bottom=0)
        _layer_axis(axis, [row["layer"] for row in own], "inputs of layer")
