"""Recorded results for figures: found in the registry, or named by the commands that make them, or made."""

from __future__ import annotations

import inspect
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, is_dataclass
from functools import partial
from typing import Any

from nid_cli.errors import NotFoundError
from nid_cli.pipeline import coherence, cost, lmc, match
from nid_cli.pipeline.context import Context
from nid_cli.recipes import graph_of
from nid_cli.registry import groups, results
from nid_cli.registry.opening import open_for_reading
from nid_cli.registry.results import Subject
from nid_cli.registry.selection import Selection
from nid_cli.specs import SYMMETRIES, Kappa

Records = list[dict[str, Any]]

# For each command that makes results: what a call speaks of, and the call itself.
ANALYSES: dict[str, tuple[Callable[..., list[Subject]], Callable[..., Records]]] = {
    "lmc": (lmc.subjects, lmc.lmc),
    "match": (match.subjects, match.match),
    "cost": (cost.subjects, partial(cost.cost, matrices=True)),
    "coherence": (coherence.subjects, coherence.coherence),
}


class MissingResults(NotFoundError):
    """Results are missing: ``commands`` make them, ``groups`` are those that lack some."""

    def __init__(self, count: int, total: int, commands: Sequence[str], groups: Sequence[str]) -> None:
        message = f"{count} of {total} results are not in the registry"
        super().__init__(message, f"run: {' && '.join(commands)} (or add --compute)")
        self.commands, self.groups = commands, groups


@dataclass(frozen=True, kw_only=True)
class Call:
    """A call of an analysis, as its command would make it."""

    analysis: str
    selection: Selection
    parameters: Mapping[str, Any] = field(default_factory=dict)

    def subjects(self, context: Context) -> list[Subject]:
        """What it speaks of."""
        return ANALYSES[self.analysis][0](context, self.selection, **self.parameters)

    def run(self, context: Context, wanted: list[Subject]) -> Records:
        """The records of its subjects; those that are not in the registry are computed."""
        return ANALYSES[self.analysis][1](context, wanted)

    def command(self, context: Context) -> str:
        """The command line that makes its results."""
        defaults = {n: p.default for n, p in inspect.signature(ANALYSES[self.analysis][0]).parameters.items()}
        given = {n: v for n, v in self.parameters.items() if _plain(v) != _plain(defaults[n])}
        return command(context, self.analysis, self.selection, given)


@dataclass(frozen=True, kw_only=True)
class SyntheticCall:
    """A call of the synthetic experiment; it has no selectors."""

    options: Mapping[str, Any]

    def subjects(self, context: Context) -> list[Subject]:
        """What it speaks of."""
        return coherence.synthetic_subjects(self.options)

    def run(self, context: Context, wanted: list[Subject]) -> Records:
        """The records of its subjects; those that are not in the registry are computed."""
        return coherence.synthetic(context, self.options)

    def command(self, context: Context) -> str:
        """The command line that makes its results."""
        defaults = asdict(coherence.SyntheticSettings())
        given = {name: value for name, value in self.options.items() if _plain(value) != _plain(defaults[name])}
        return command(context, "coherence synthetic", Selection(), given)


def _plain(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _number(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _kappa(kappa: Kappa) -> str:
    return "null" if kappa is None else ",".join(map(_number, kappa if isinstance(kappa, list) else [kappa]))


def _spelled(parameters: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Each option with its value; a bundle of settings is an option each, its usual values left out."""
    for name, value in parameters.items():
        if not is_dataclass(value) or isinstance(value, type):
            yield name, value
            continue
        usual = asdict(type(value)())
        yield from ((n, v) for n, v in asdict(value).items() if _plain(v) != _plain(usual[n]))


def command(context: Context, name: str, selection: Selection, parameters: Mapping[str, Any]) -> str:
    """``nid NAME`` with these selectors and parameters, ready for a shell."""
    words = ["nid", *name.split()]
    for option in ("arch", "dataset", "symmetry", "group"):
        words += [word for value in getattr(selection, option) for word in (f"--{option}", value)]
    words += [word for kappa in selection.kappa for word in ("--kappa", _kappa(kappa))]
    if selection.models is not None:
        words += ["--models", selection.models]
    if selection.epochs != "last":
        words += ["--epochs", selection.epochs]
    for option, value in _spelled(parameters):
        text = ",".join(map(_number, value)) if isinstance(value, list | tuple) else _number(value)
        words += [f"--{option.replace('_', '-')}", *([] if value is True else [text])]
    for option, path in (("--registry", context.registry), ("--data-dir", context.data_dir)):
        words += [option, str(path)] if path is not None else []
    return shlex.join(words)


def recorded(context: Context, calls: Sequence[Call | SyntheticCall], *, compute: bool = False) -> list[Records]:
    """The records of each call with their matrices, and with the settings of their groups.

    Args:
        compute: make what is missing instead of naming the command.

    Raises:
        MissingResults: the hint names exactly the commands that make them.
        UsageError: a selector or parameter cannot be.
    """
    wanted = [call.subjects(context) for call in calls]
    registry = open_for_reading(context.registry)
    with registry.read() as connection:
        known = results.known(connection, [subject.key for subjects in wanted for subject in subjects])
    missing = [(call, s) for call, own in zip(calls, wanted, strict=True) for s in own if s.key not in known]
    if missing and not compute:
        commands = list(dict.fromkeys(call.command(context) for call in {id(c): c for c, _ in missing}.values()))
        lacking = list(dict.fromkeys(subject.group.name for _, subject in missing if subject.group))
        raise MissingResults(len(missing), sum(map(len, wanted)), commands, lacking)
    return [with_settings(context, call.run(context, own)) for call, own in zip(calls, wanted, strict=True)]


def with_settings(context: Context, records: Records) -> Records:
    """The records with ``settings`` of their groups and ``fixed_share``, the share of all weights that is fixed.

    Those of one symmetry type stand together, by kappa: so every figure names its groups in the same order.
    """
    names = dict.fromkeys(record["group"] for record in records if "group" in record)
    with open_for_reading(context.registry).read() as connection:
        settings = {name: groups.by_name(connection, name).settings for name in names}
    facts = {name: {"settings": own, "fixed_share": fixed_share(own)} for name, own in settings.items()}
    return sorted((record | facts.get(record.get("group", ""), {}) for record in records), key=order)


def order(record: Mapping[str, Any]) -> tuple[Any, ...]:
    """Where a record's group stands among others: by architecture, symmetry type and kappa."""
    if "symmetry" not in record:
        return ()
    kappa = record["kappa"]
    layers = [] if kappa is None else kappa if isinstance(kappa, list) else [kappa]
    return (record["arch"], list(SYMMETRIES).index(record["symmetry"]), len(layers), layers)


def fixed_share(settings: Mapping[str, Any]) -> float | None:
    """The share of a network's weights (not biases) that is fixed; None where the symmetry type fixes none."""
    if settings["num_fixed"] is None:
        return None
    layers = graph_of(settings).weighted
    fixed = sum(op.channels * count for op, count in zip(layers, settings["num_fixed"], strict=True))
    return fixed / sum(op.channels * op.fan_in for op in layers)
