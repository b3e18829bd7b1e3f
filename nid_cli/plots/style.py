"""How all figures look: sizes for one and two columns, colour-blind-safe colours, labels in words and mathematics."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from nid_cli.plots.inline import printable
from nid_cli.records.base import Row
from nid_cli.specs import SYMMETRIES, Kappa

# Width in inches of one and of two columns of a conference page.
WIDTHS = {1: 3.25, 2: 6.75}

RC: Any = {
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "legend.fontsize": 7,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "lines.linewidth": 1.3,
    "lines.markersize": 3.5,
    "legend.frameon": False,
    "pdf.fonttype": 42,
    "ps.fonttype": 42,
    # Letters as outlines: an SVG looks the same where the font is not installed.
    "svg.fonttype": "path",
    # Names inside an SVG do not change from call to call.
    "svg.hashsalt": "nid",
    "savefig.dpi": 300,
    "figure.constrained_layout.use": True,
}

# Standard and sigma have one colour each; w and syre a colormap over kappa, from light to dark, so that grey works too.
COLORS = {"standard": "#000000", "sigma": "#CC79A7"}
COLORMAPS = {"w": "viridis_r", "syre": "YlOrBr"}
DASHES = {"standard": "-", "sigma": ":", "w": "-", "syre": "-."}
# A symmetry type without a look of its own.
OTHER_COLOR, OTHER_COLORMAP, OTHER_DASH = "#0072B2", "Purples", (0, (4, 1, 1, 1, 1, 1))
GREY = "0.55"
# About how many inches wide a letter is, at 8 points.
LETTER = 0.062
# So many lines of one dash can be told apart by how dark they are.
MOST_ALIKE = 3
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*", "p", "h", "<", ">")

NETWORKS = {"mlp": "MLP", "resnet": "ResNet"}
DATASETS = {
    "digits": "digits",
    "mnist": "MNIST",
    "fashion-mnist": "Fashion-MNIST",
    "cifar10": "CIFAR-10",
    "cifar100": "CIFAR-100",
    "mnist-coherence": "rotated MNIST",
    "gaussian-subspace": "Gaussian classes",
    "parity-subspace": "parity",
    "multilabel-subspace": "multi-label",
}
ACTIVATIONS = {"gelu": "GELU", "relu": "ReLU", "identity": "no activation"}
SPLITS = {"train": "train", "val": "validation", "test": "test"}
ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth")


@contextmanager
def styled() -> Iterator[None]:
    """Applies the style to figures made inside."""
    with mpl.rc_context(RC):
        yield


def number(value: float) -> str:
    """A number as a label writes it: 0.5, 1, 2."""
    return f"{value:g}"


def short_number(value: float) -> str:
    """A number as a crowded tick writes it: .5, 1, −.1."""
    digits = number(abs(value))
    return ("\N{MINUS SIGN}" if value < 0 else "") + (digits.removeprefix("0") or "0")


def label(record: Row, kappa: bool = True) -> str:
    """A group in words: ``W-MLP, $\\kappa = 1$``; without the kappa where an axis shows it."""
    symmetry, arch = str(record["symmetry"]), str(record["arch"])
    prefix = SYMMETRIES[symmetry].prefix if symmetry in SYMMETRIES else f"{symmetry}-"
    name = prefix + NETWORKS.get(arch, literal(arch))
    numbers = Kappa.of(record["kappa"]).numbers
    if not numbers or not kappa:
        return name
    shown = number(numbers[0]) if len(numbers) == 1 else "(" + ", ".join(map(number, numbers)) + ")"
    return rf"{name}, $\kappa = {shown}$"


def layer(name: int | str) -> str:
    """A layer in words: ``first layer`` for an mlp's 0, the stream's or block's own name elsewhere."""
    if not isinstance(name, int):
        return name
    return f"{ORDINALS[name]} layer" if name < len(ORDINALS) else f"layer {name + 1}"


def short_layer(name: int | str) -> str:
    """A layer as a tick's label: ``1`` for an mlp's 0, else its name."""
    return str(name + 1) if isinstance(name, int) else layer(name)


def layer_title(name: int | str, width: float) -> str:
    """A layer in words that fit above a panel of ``width`` inches: its name over several lines, or a number alone."""
    broken = layer(name).replace(".", ".\n")
    return fitting((layer(name), broken.replace(" ", "\n"), short_layer(name)), width)


def fitting(texts: Sequence[str], width: float) -> str:
    """The first of several ways to say something whose lines fit into ``width`` inches, else the last."""
    fits = (text for text in texts if inches(text) <= width)
    return next(fits, texts[-1])


def inches(text: str) -> float:
    """About how wide the longest line of a label is."""
    return max(map(_letters, text.split("\n"))) * LETTER


def look(record: Row) -> dict[str, Any]:
    """Colour and dash of a group: functions of symmetry and kappa alone, so the same in every figure.

    Kappa 0 is dashed; per-layer kappas are dotted, in the colour of their mean.
    """
    symmetry, numbers = record["symmetry"], Kappa.of(record["kappa"]).numbers
    usual = DASHES.get(symmetry, OTHER_DASH)
    if not numbers:
        return {"color": COLORS.get(symmetry, OTHER_COLOR), "linestyle": usual}
    mean = float(np.mean(numbers))
    # The kappas of the paper's sweep, 0.01 to 5, span the colormap on a logarithmic scale; 0 is left of them.
    share = 0.0 if mean == 0 else float(np.interp(math.log10(mean), (-2, -1, math.log10(5), 1), (0.12, 0.36, 0.95, 1)))
    color = mpl.colors.to_hex(mpl.colormaps[COLORMAPS.get(symmetry, OTHER_COLORMAP)](0.16 + 0.84 * share))
    dash = "--" if mean == 0 else (0, (1, 1)) if len(numbers) > 1 else usual
    return {"color": color, "linestyle": dash}


# How labels word a setting in which two groups differ, where its name and value alone would not do.
WORDS: dict[str, Callable[[Any], str]] = {
    "dataset": lambda v: DATASETS.get(v, literal(str(v))),
    "norm": lambda v: "no norm" if v == "none" else f"{v} norm",
    "activation": lambda v: ACTIVATIONS.get(v, str(v)),
    "depth": lambda v: f"depth {v}",
    "width": lambda v: f"width {v}",
    "fixed_share": lambda v: "none fixed" if not v else f"{100 * v:.3g} % fixed",
    "optimizer": str,
    "lr": lambda v: f"learning rate {number(v)}",
    "weight_decay": lambda v: f"weight decay {number(v)}",
    "batch_size": lambda v: f"batch {v}",
    "epochs": lambda v: f"{v} epochs",
    "graph": lambda v: f"network {v[:6]}",
    "content": lambda v: f"data {v[:6]}",
}
# Said by the label itself, or by the share of fixed weights.
SAID = ("arch", "symmetry", "kappa", "init", "data", "num_fixed", "input_shape", "outputs", "targets", "vocabulary")
PARAMETERS = {"k": "$k = {}$", "coherence": r"$\nu = {}$", "sep": "separation {}", "m": "$m = {}$", "d": "$d = {}$"}


def parameter(name: str, value: Any) -> str:
    """A value of a data parameter in words and mathematics."""
    return PARAMETERS.get(name, name.replace("_", " ") + " {}").format(number(value))


def _told_apart(record: Row, ignored: str | None) -> dict[str, str]:
    """Every setting of a record's group in words, by name; empty for records without settings."""
    settings = record.get("settings") or {}
    known = settings | {"fixed_share": record.get("fixed_share")} if settings else {}
    words = {"dataset": WORDS["dataset"](known["dataset"])} if settings else {}
    for name, value in settings.get("data", {}).items():
        words[f"data {name}"] = parameter(name, value)
    words |= {name: say(known[name]) for name, say in WORDS.items() if known.get(name) is not None}
    for name in settings.keys() - WORDS.keys() - set(SAID):
        words[name] = f"{name.replace('_', ' ')} {settings[name]}"
    return {name: text for name, text in words.items() if name.removeprefix("data ") != ignored}


def group_labels(records: Sequence[Row], without: str | None = None) -> dict[str, str]:
    """A label for each group: symmetry and kappa, and the settings in which groups of equal labels differ.

    Where nothing else tells two groups apart (their fixed tensors differ), or records carry no settings, the data set
    and the group's name are added.

    Args:
        without: what an axis shows already (``kappa``, ``fixed_share`` or a data parameter): left out of the labels.
    """
    first = {record["group"]: record for record in reversed(records)}
    first = {group: first[group] for group in dict.fromkeys(r["group"] for r in records)}
    names = {group: label(record, kappa=without != "kappa") for group, record in first.items()}
    words = {group: _told_apart(record, without) for group, record in first.items()}
    for setting in dict.fromkeys(name for own in words.values() for name in own):
        for twins in _twins(names):
            if len({words[group].get(setting) for group in twins}) > 1:
                names |= {g: f"{names[g]}, {words[g][setting]}" for g in twins if setting in words[g]}
    for extra in ("dataset", "group"):
        for twins in _twins({group: (text, _place(first[group], without)) for group, text in names.items()}):
            values = {group: first[group][extra] for group in twins}
            if len(set(values.values())) > 1:
                names |= {g: f"{names[g]}, {DATASETS.get(v, literal(v))}" for g, v in values.items()}
    return names


def literal(text: str) -> str:
    """Text of others as it is, without mathematics, for a figure."""
    return printable(text).replace("$", r"\$")


def _twins(names: Mapping[str, Any]) -> list[list[str]]:
    """The groups of equal names, where several have one."""
    found: dict[Any, list[str]] = {}
    for group, text in names.items():
        found.setdefault(text, []).append(group)
    return [groups for groups in found.values() if len(groups) > 1]


def _place(record: Row, without: str | None) -> Any:
    """Where a group lies on the axis that its label leaves out."""
    if without == "kappa":
        return str(Kappa.of(record["kappa"]))
    if without is None or without in record:
        return record.get(str(without))
    return (record.get("settings") or {}).get("data", {}).get(without)


def markers(records: Sequence[Row]) -> dict[str, str]:
    """A marker for each group that needs one to be told from the others, also in grey; "" for the others.

    Those need one whose colour and dash an earlier group has already, and all of one dash where they are many.
    """
    first = {record["group"]: look(record) for record in reversed(records)}
    looks = {group: first[group] for group in dict.fromkeys(r["group"] for r in records)}
    found = {}
    for group, own in looks.items():
        alike = [other for other, look in looks.items() if look["linestyle"] == own["linestyle"]]
        if len(alike) <= MOST_ALIKE:
            alike = [other for other in alike if looks[other] == own]
            found[group] = ("", *MARKERS)[alike.index(group) % (1 + len(MARKERS))]
        else:
            found[group] = MARKERS[alike.index(group) % len(MARKERS)]
    return found


def new_figure(columns: int, height: float) -> Figure:
    """An empty figure of one or two columns' width, ``height`` inches high."""
    return Figure(figsize=(WIDTHS[columns], height))


def grid(count: int, columns: int, widest: Mapping[int, int] | None = None) -> tuple[int, int]:
    """(rows, columns) of ``count`` panels of equal size on a figure of one or two columns' width."""
    most = (widest or {1: 2, 2: 4})[columns]
    across = min(count, most)
    rows = -(-count // across)
    return rows, -(-count // rows)


def _letters(text: str) -> int:
    """About how many letters a label is wide."""
    for mathematics, shown in ((r"$\kappa = ", "k= "), (r"\sigma", "s"), (r"\nu", "v"), ("$", "")):
        text = text.replace(mathematics, shown)
    return len(text)


def legend_columns(labels: Sequence[str], width: float) -> int:
    """How many columns of a legend fit into a figure of ``width`` inches (7 pt text: about 0.055 inches a letter)."""
    longest = max(map(_letters, labels), default=1)
    return max(1, min(len(labels), int(width / (0.055 * longest + 0.55))))


def legend(figure: Figure, handles: Mapping[str, Any]) -> None:
    """The figure's legend below its panels, each label once; the figure grows by its height."""
    if not handles:
        return
    width, height = figure.get_size_inches()
    columns = legend_columns(list(handles), width)
    figure.legend(
        handles.values(), handles.keys(), loc="outside lower center", ncols=columns, handlelength=2.4, columnspacing=1.4
    )
    figure.set_figheight(height + 0.06 + 0.155 * -(-len(handles) // columns))


def handles_of(axes: Iterable[Any]) -> dict[str, Any]:
    """The labelled lines of some axes, each label once."""
    lines = (line for axis in axes for line in axis.get_lines())
    return {line.get_label(): line for line in lines if not str(line.get_label()).startswith("_")}


SPREAD = "±1 sd over {}"


def spread_key(rows: Iterable[Row], over: str, *, band: bool) -> dict[str, Any]:
    """The legend's entry for bands, or bars, of one standard deviation; empty where no row has one."""
    if not any(value is not None for row in rows for name, value in row.items() if name.endswith("_sd")):
        return {}
    mark = key_patch(color=GREY, alpha=0.3) if band else key_line(color=GREY, linestyle="", marker="|", markersize=7)
    return {SPREAD.format(over): mark}


def key_line(**look: Any) -> Line2D:
    """A line for a legend that stands for no curve of its own."""
    return Line2D([], [], **look)


def key_patch(**look: Any) -> Patch:
    """A patch for a legend."""
    return Patch(**look)


def settings_key(record: Row, *without: str) -> str:
    """All settings of a record's group as one text, ``without`` some (data parameters by their own name)."""
    settings = dict(record.get("settings") or {"group": record["group"]})
    settings["data"] = {k: v for k, v in settings.get("data", {}).items() if k not in without}
    return json.dumps({k: v for k, v in settings.items() if k not in without}, sort_keys=True)
