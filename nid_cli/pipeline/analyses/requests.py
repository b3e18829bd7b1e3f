"""A request for results: an analysis of a selection of models under parameters, as its command would ask for it."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import Any, NamedTuple

from nid_cli.analysis.parameters import Parameters
from nid_cli.errors import NotFoundError, UsageError
from nid_cli.nets import Graph
from nid_cli.nets.description import Description
from nid_cli.pipeline.analyses.catalog import ANALYSES, SCOPES, Analysis
from nid_cli.pipeline.context import Context
from nid_cli.registry.groups import Group
from nid_cli.registry.opening import open_for_writing
from nid_cli.registry.results import ResultKey
from nid_cli.registry.runs import Model
from nid_cli.registry.selection import Selected, select_models
from nid_cli.specs import Selection
from nid_cli.specs.selection import PATHS

ALL_PAIRS = "all"
# Stands for the network of experiments that concern no model.
NO_NETWORK = Graph(Description(inputs=(), calls=(), parameters={}, output=""))


class Subject(NamedTuple):
    """What one result is about: one or more models, the epoch, and that of the first where it is another."""

    models: tuple[Model, ...] = ()
    epoch: int | None = None
    epoch_a: int | None = None


@dataclass(frozen=True, kw_only=True)
class Request:
    """``pairs`` (``all``, ``disjoint``, ``1-2,3-4``) is of analyses of pairs alone; ``epochs`` of those with paths:
    each chosen epoch of a model with the last chosen one, or its first and its last epoch where none are chosen."""

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
        if self._paths and not self.what.paths:
            raise UsageError(
                f"nid {self.what.command} measures pairs of models, not two epochs of one",
                f"nid lmc --pairs {PATHS} does",
            )
        registry = open_for_writing(context.registry)
        models = 1 if self._paths else SCOPES[self.what.scope]
        if not models:
            return [self._key(None, own, Subject()) for own in self.parameters.of_each(NO_NETWORK)]
        selection = replace(self.selection, epochs="all") if self._ends_alone else self.selection
        with registry.read() as connection:
            chosen = list(select_models(connection, selection, least=models))
        found = [key for selected in chosen for key in self.keys_of(selected)]
        if not found and any(self._subjects(selected) for selected in chosen):
            self.parameters.check_not_empty([selected.group.graph for selected in chosen])
        if not found and self._paths and chosen:
            self._refuse_one_epoch()
        if not found and self.what.scope == "many" and self.selection.models is not None:
            raise UsageError(
                f"a merge is of two models or more, and --models {self.selection.models} chooses one",
                "--models 1,2, or none for all of a group",
            )
        if not found:
            several = models > 1
            raise NotFoundError(
                f"no selected group has {'two complete models' if several else 'a complete model'}",
                "nid train --seeds 2 makes them" if several else "nid train makes one",
            )
        self.parameters.check([selected.group.graph for selected in chosen])
        return found

    @property
    def _paths(self) -> bool:
        return self.what.scope == "pair" and self.pairs == PATHS

    @property
    def _ends_alone(self) -> bool:
        return self._paths and self.selection.epochs == Selection().epochs

    def _refuse_one_epoch(self) -> None:
        if self.selection.epochs in (Selection().epochs, "all"):
            raise NotFoundError(
                f"the selected models have one epoch each, and --pairs {PATHS} takes two",
                "nid train --save-every 1 keeps every epoch",
            )
        raise UsageError(
            f"--pairs {PATHS} takes two epochs, and --epochs {self.selection.epochs} chooses one", "--epochs 0,5,10"
        )

    def _subjects(self, selected: Selected) -> list[Subject]:
        """The models, or pairs of them, at each epoch; or one model's pairs of epochs."""
        if self._paths:
            return [Subject((model, model), last, epoch) for model, epoch, last in selected.paths(self._ends_alone)]
        members: dict[str, Callable[[], Sequence[tuple[Model, ...]]]] = {
            "pair": lambda: selected.pairs(self.pairs),
            "model": lambda: [(model,) for model in selected.models],
            "many": lambda: [tuple(selected.models)],
        }
        chosen = members[self.what.scope]()
        return [Subject(models, epoch) for epoch in selected.epochs for models in chosen]

    def keys_of(self, selected: Selected) -> Iterator[ResultKey]:
        """The results of one group's models, not held against its network."""
        each = list(self.parameters.of_each(selected.group.graph))
        for subject in self._subjects(selected):
            also = self._also(subject)
            for own in each:
                yield self._key(selected.group, own, subject, also)

    def _key(
        self, group: Group | None, own: Mapping[str, Any], about: Subject, also: tuple[int, ...] = ()
    ) -> ResultKey:
        return ResultKey(
            self.what.name,
            group,
            about.epoch,
            about.models,
            own,
            self.what.version,
            epoch_a=about.epoch_a,
            also=also,
            many=self.what.scope == "many",
        )

    def _also(self, about: Subject) -> tuple[int, ...]:
        """The further epochs that a result is made of, of those that all its models have."""
        if about.epoch is None:
            return ()
        return self.parameters.also(about.epoch, set.intersection(*(set(m.checkpoints) for m in about.models)))

    def remarks(self, keys: Sequence[ResultKey]) -> list[str]:
        """What these results go without, since none of a group has the further epoch to be made of: a sentence each."""
        said: dict[str, list[str]] = {}
        for _, grouped in groupby((key for key in keys if key.group), key=lambda key: key.of_group[0].id):
            own = list(grouped)
            group, _ = own[-1].of_group
            sentences = [self.parameters.lacking(key.of_group[1], key.also) for key in own]
            if all(sentences) and (sentence := sentences[-1]):
                said.setdefault(sentence, []).append(group.name)
        return [f"{', '.join(names)}: {sentence}" for sentence, names in said.items()]

    def command(self, context: Context) -> str:
        """The command line that makes its results."""
        pairs = {} if self.pairs == ALL_PAIRS and not self.what.by_pairs else {"pairs": self.pairs}
        return command_line(context, self.what.command, self.selection, pairs | self.parameters.chosen())


def _text(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ",".join(map(_text, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def command_line(context: Context, name: str, selection: Selection, options: Mapping[str, Any]) -> str:
    """``nid NAME`` with these selectors and options, ready for a shell."""
    words = ["nid", *name.split()]
    for option in ("arch", "dataset", "symmetry", "group", "sweep", "kappa"):
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
