"""A report as one HTML page: values in, text out. Nothing in it is fetched, nothing in it runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from nid_cli.plots.inline import printable
from nid_cli.plots.rows import IDENTITY
from nid_cli.records.base import Row

# Columns of the tables of results, and the curves below them: headings, and the fields of records behind them.
NUMBERS: Mapping[str, Mapping[str, str]] = {
    "lmc": {
        "alignment": "align",
        "train error barrier (points)": "train_error_barrier",
        "train loss barrier": "train_loss_barrier",
        "test error barrier (points)": "test_error_barrier",
        "test loss barrier": "test_loss_barrier",
        "distance": "distance",
    },
    "match": {
        "layer": "layer",
        "optimal": "optimal",
        "identity": "identity",
        "random, mean": "random_mean",
        "random, sd": "random_sd",
        "neurons in place": "share_identity",
    },
    "similarity": {
        "alignment": "align",
        "train agreement": "train_agreement",
        "test agreement": "test_agreement",
        "test error overlap": "test_error_overlap",
        "test Jensen-Shannon divergence (nats)": "test_jensen_shannon",
        "update cosine": "update_cosine",
    },
    "merge": {
        "alignment": "align",
        "train accuracy (%)": "train_accuracy",
        "test accuracy (%)": "test_accuracy",
        "parts, test accuracy (%)": "test_parts_accuracy",
        "ensemble, test accuracy (%)": "test_ensemble_accuracy",
        "objective": "objective",
        "pairwise cycle error": "pairwise_cycle_error",
    },
    "cost": {
        "layer": "layer",
        "estimate": "method",
        "squared cost, median": "cost_squared_median",
        "squared swap cost, median": "swap_squared_median",
        "rank correlation": "rank_correlation",
        "dimension": "subspace_dimension",
    },
    "coherence": {
        "layer": "layer",
        "coherence": "coherence",
        "dimension": "subspace_dimension",
        "of": "full_dimension",
        "anisotropy, mean": "anisotropy_mean",
    },
}
CURVES: Mapping[str, Mapping[str, str]] = {
    "lmc": {"train accuracy over λ (%)": "train_accuracy", "train loss over λ": "train_loss"},
    "similarity": {"CKA by layer": "cka", "debiased CKA by layer": "cka_debiased"},
}
# What the tables do not show as numbers: it stands in the page elsewhere, or beside them.
ELSEWHERE = (
    *IDENTITY,
    "result_id",
    "model",
    "model_a",
    "model_b",
    "models",
    "analysis",
    "fixed_share",
    "origin",
    "part",
)
TITLES = {
    "lmc": "Linear mode connectivity",
    "match": "Matching of neurons",
    "similarity": "Similarity of predictions, layers and updates",
    "merge": "Many models in one",
    "cost": "Costs of realizing another neuron",
    "coherence": "Coherence of the layers' inputs",
}


@dataclass(frozen=True, kw_only=True)
class Picture:
    """One figure of the page, or why there is none.

    ``key``: its anchor. ``svg``: what ``inline_svg`` gives, or None. ``reason``: why it is not
    drawn, or not for the groups in ``left_out``, and ``remedy``: what to do about it, in words. ``missing``: the
    commands that make its missing results. ``made_by``: those that made the results it shows; ``redraw``: the one that
    draws it in a file of its own. ``results``: the analysis and id of each result in it.
    """

    key: str
    title: str
    description: str
    redraw: str
    svg: str | None = None
    reason: str | None = None
    remedy: str | None = None
    left_out: Sequence[str] = ()
    missing: Sequence[str] = ()
    made_by: Sequence[str] = ()
    results: Sequence[str] = ()


@dataclass(frozen=True, kw_only=True)
class Source:
    """What made numbers: a command, the software, the code's commit and the data (both None where unknown)."""

    command: str
    software: str
    commit: str | None
    data: str | None


@dataclass(frozen=True, kw_only=True)
class Page:
    """What a report says.

    ``groups``: ``nid.group/1`` records as ``nid group show`` gives them, each with ``key`` (its anchor), ``label``,
    ``fixed_share`` and ``summary`` (a :class:`Picture`); their members and all results have a ``source`` (an index
    of ``sources``). ``results``: records by analysis. ``in_python``: for each analysis, the
    expression that gives all that was recorded. ``commands``: what to run, in order, to make all of it again.
    """

    command: str
    groups: Sequence[Row]
    pictures: Sequence[Picture]
    results: Mapping[str, Sequence[Row]]
    sources: Sequence[Source]
    commands: Sequence[str]
    in_python: Mapping[str, str] = field(default_factory=dict)


def environment(folder: str) -> Environment:
    """What templates of a folder of this package are rendered with: all values are escaped, and made printable.

    Its filters: ``number`` (to four digits), ``spread`` (mean ± standard deviation), ``drawn`` (markup already).
    """
    made = Environment(
        loader=PackageLoader("nid_cli", folder),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {"number": _number, "drawn": Markup, "spread": _spread}
    return made


def title_of(analysis: str) -> str:
    """An analysis in words."""
    return TITLES.get(analysis, analysis.capitalize())


def numbers_of(analysis: str, records: Sequence[Row]) -> Mapping[str, str]:
    """The columns of a table of an analysis's results: headings, and the fields of the records behind them."""
    return NUMBERS.get(analysis) or _numbers(records)


def html(page: Page) -> str:
    """The page as text; equal pages give equal text. All values are escaped, except figures, which are SVG already."""
    template = environment("plots").get_template("page.html")
    files = {
        (group["name"], file["sha256"]): f"{group['key']}-{member['model']}-{file['epoch']}"
        for group in page.groups
        for member in group["members"]
        for file in member["checkpoints"]
    }
    numbers = {name: numbers_of(name, records) for name, records in page.results.items()}
    titles = {name: title_of(name) for name in page.results}
    return template.render(page=page, numbers=numbers, curves=CURVES, titles=titles, files=files)


def _numbers(records: Sequence[Row]) -> dict[str, str]:
    """The columns of an analysis that ``NUMBERS`` does not list: all numbers and words of its records."""
    names = (n for record in records for n, value in record.items() if isinstance(value, int | float | str))
    return {name.replace("_", " "): name for name in dict.fromkeys(names) if name not in ELSEWHERE}


def _shown(value: Any) -> Any:
    """Text without characters that steer a screen or turn its direction; None as a dash."""
    if isinstance(value, Markup):
        return value
    if value is None:
        return "–"
    return printable(str(value))


def _number(value: Any) -> str:
    """A number to four digits; several of them one after the other; other things as they are."""
    kinds: dict[type, Callable[[Any], str]] = {
        float: lambda v: f"{v:.4g}".replace("-", "\N{MINUS SIGN}"),
        list: lambda v: ", ".join(map(_number, v)) or "none",
        dict: lambda v: ", ".join(f"{name.replace('_', ' ')} {_number(own)}" for name, own in v.items()) or "none",
        type(None): lambda v: "–",
    }
    return kinds.get(type(value), str)(value)


def _spread(values: Sequence[float | None]) -> str:
    """Mean ± standard deviation of accuracies in percent."""
    import numpy as np

    known = [value for value in values if value is not None]
    if not known:
        return "–"
    mean = f"{np.mean(known):.2f}"
    return f"{mean} ± {np.std(known, ddof=1):.2f}" if len(known) > 1 else mean
