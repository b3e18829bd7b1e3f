"""What a call of an analysis asks for: the fields are the options of its command. No torch."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import fields
from typing import Any

from nid_cli.nets.graph import Graph
from nid_cli.specs import Canonical

# What determines one result, beside its models: JSON-able values by name.
Key = dict[str, Any]


class Parameters(Canonical):
    """What a call of an analysis asks for, the selection of models aside.

    Raises:
        UsageError: a value that cannot be.
    """

    def of_each(self, graph: Graph) -> Iterator[Key]:
        """The results that it asks for of one model or pair with this network, in order."""
        raise NotImplementedError

    def check(self, graphs: Sequence[Graph]) -> None:
        """Holds the whole request against the networks of the selected groups.

        Raises:
            UsageError: it makes no sense for them.
        """

    def check_not_empty(self, graphs: Sequence[Graph]) -> None:
        """Says why there are models and yet no results for these networks.

        Raises:
            UsageError: nothing of them can be measured so.
        """

    def also(self, epoch: int, known: Collection[int]) -> tuple[int, ...]:
        """The further epochs whose checkpoints a result at ``epoch`` is made of.

        Args:
            known: those that all its models have.
        """
        return ()

    def lacking(self, epoch: int, also: Collection[int] = ()) -> str | None:
        """What a result at ``epoch`` goes without where ``also`` are all its further ones, and what helps: a sentence.

        None where it lacks nothing.
        """
        return None

    def common(self, *expanded: str) -> Key:
        """What the keys of all its results share: the canonical form without the fields of which each has its own."""
        return {name: value for name, value in self.canonical().items() if name not in expanded}

    def chosen(self) -> dict[str, Any]:
        """The fields whose values are not the default ones."""
        return {d.name: getattr(self, d.name) for d in fields(self) if getattr(self, d.name) != d.default}  # type: ignore[arg-type]
