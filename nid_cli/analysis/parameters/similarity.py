"""Of ``nid similarity``."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import product

from nid_cli.analysis.catalog import SINCE
from nid_cli.analysis.parameters.base import Key, Parameters
from nid_cli.analysis.parameters.choices import know
from nid_cli.analysis.parameters.learning import LEARN_STEPS, know_learning
from nid_cli.errors import UsageError
from nid_cli.nets.graph import SITES, Graph
from nid_cli.specs import ALIGNMENTS


@dataclass(frozen=True, kw_only=True)
class SimilarityParameters(Parameters):
    """``at``: where the neurons of CKA are recorded. ``since``: what updates count from, see ``catalog.SINCE``."""

    align: tuple[str, ...] = ("none", "activation")
    at: tuple[str, ...] = ("post_activation",)
    since: str = "init"
    learn_steps: int = LEARN_STEPS

    def __post_init__(self) -> None:
        know("alignment", self.align, list(ALIGNMENTS))
        know_learning(self.align, self.learn_steps)
        know("recording point", self.at, SITES)
        know("start of updates", [self.since], SINCE)

    def of_each(self, graph: Graph) -> Iterator[Key]:
        """One result for each recording site and alignment."""
        common = self.common("align", "at", "learn_steps")
        for at, align in product(self.at, self.align):
            own = ALIGNMENTS[align].parameters_of({"learn_steps": self.learn_steps})
            yield {"align": align, **own.canonical(), **common, "at": at}

    def also(self, epoch: int, known: Collection[int]) -> tuple[int, ...]:
        """Epoch 0, or the saved one before, from which updates count."""
        earlier = [other for other in known if other < epoch and (self.since == "previous" or other == 0)]
        return (max(earlier),) if earlier else ()

    def lacking(self, epoch: int, also: Collection[int] = ()) -> str | None:
        """Why there are no update cosines."""
        if also:
            return None
        if epoch == 0:
            return "no update cosines at epoch 0, where nothing has changed yet; choose later epochs with --epochs"
        if self.since == "init":
            return (
                "no update cosines, because epoch 0 of these models is not in the registry; nid register --init takes "
                "initializations in, --since previous with later --epochs counts from the saved epoch before"
            )
        return f"no update cosines, because epoch {epoch} is the first one saved; choose later epochs with --epochs"

    def check(self, graphs: Sequence[Graph]) -> None:
        """Some network must have neurons at each of the sites."""
        found = {site for graph in graphs for space in graph.spaces for site in space.sites}
        if found and (wrong := [at for at in self.at if at not in found]):
            known = [site for site in SITES if site in found]
            raise UsageError(
                f"no neurons of the selected networks are recorded at {wrong[0]}", f"--at {','.join(known)}"
            )
