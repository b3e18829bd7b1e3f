"""A request for results: an analysis of a selection of models under parameters, as its command would ask for it."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from nid_cli.analysis.parameters import Parameters
from nid_cli.errors import NotFoundError
from nid_cli.nets import Graph
from nid_cli.nets.description import Description
from nid_cli.pipeline.analyses.catalog import ANALYSES, SCOPES, Analysis
from nid_cli.pipeline.context import Context
from nid_cli.registry.opening import open_for_writing
from nid_cli.registry.results import ResultKey
from nid_cli.registry.runs import Model
from nid_cli.registry.selection import Selected, select_models
from nid_cli.specs import Selection

ALL_PAIRS = "all"
# Stands for the network of experiments that concern no model.
NO_NETWORK = Graph(Description(inputs=(), calls=(), parameters={}, output=""))


@dataclass(frozen=True, kw_only=True)
class Request:
    """``pairs`` (``all``, ``disjoint``, ``1-2,3-4``) is of analyses of pairs alone."""

    analysis: str
    parameters: Parameters
    selection: Selection = field(default_factory=Selection)
    pairs: str = ALL_PAIRS

    @property
    def what(self) -> Analysis:
        """The analysis."""
        return ANALYSES[self.analysis]

    def keys(self, context: Context) -> list[ResultKey]:
        """The results that it asks for, in order.

        Raises:
            UsageError, NotFoundError: a selector cannot be read, or nothing is selected.
        """
        registry = open_for_writing(context.registry)
        models = SCOPES[self.what.scope]
        if not models:
            return [self._key(None, None, (), own) for own in self.parameters.of_each(NO_NETWORK)]
        with registry.read() as connection:
            chosen = list(select_models(connection, self.selection, least=models))
        found = [key for selected in chosen for key in self._keys(selected)]
        if not found and any(self._members(selected) for selected in chosen):
            self.parameters.check_not_empty([selected.group.graph for selected in chosen])
        if not found:
            several = models > 1
            raise NotFoundError(
                f"no selected group has {'two complete models' if several else 'a complete model'}",
                "nid train --seeds 2 makes them" if several else "nid train makes one",
            )
        self.parameters.check([selected.group.graph for selected in chosen])
        return found

    def _members(self, selected: Selected) -> list[tuple[Model, ...]]:
        """The models, or pairs of them."""
        if self.what.scope == "pair":
            return list(selected.pairs(self.pairs))
        return [(model,) for model in selected.models]

    def _keys(self, selected: Selected) -> Iterator[ResultKey]:
        members = self._members(selected)
        each = list(self.parameters.of_each(selected.group.graph))
        for epoch in selected.epochs:
            for models in members:
                for own in each:
                    yield self._key(selected.group, epoch, models, own)

    def _key(self, group: Any, epoch: int | None, models: tuple[Model, ...], own: Mapping[str, Any]) -> ResultKey:
        return ResultKey(self.what.name, group, epoch, models, own, self.what.version)

    def command(self, context: Context) -> str:
        """The command line that makes its results."""
        pairs = {} if self.pairs == ALL_PAIRS else {"pairs": self.pairs}
        return command_line(context, self.what.command, self.selection, pairs | self.parameters.chosen())


def _text(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ",".join(map(_text, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def command_line(context: Context, name: str, selection: Selection, options: Mapping[str, Any]) -> str:
    """``nid NAME`` with these selectors and options, ready for a shell."""
    words = ["nid", *name.split()]
    for option in ("arch", "dataset", "symmetry", "group", "kappa"):
        words += [word for value in getattr(selection, option) for word in (f"--{option}", str(value))]
    if selection.models is not None:
        words += ["--models", selection.models]
    if selection.epochs != "last":
        words += ["--epochs", selection.epochs]
    for option, value in options.items():
        words += [f"--{option.replace('_', '-')}", *([] if value is True else [_text(value)])]
    for option, path in (("--registry", context.registry), ("--data-dir", context.data_dir)):
        words += [option, str(path)] if path is not None else []
    return shlex.join(words)
