"""Of ``nid lmc``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from nid_cli.analysis.parameters.base import Key, Parameters
from nid_cli.analysis.parameters.choices import know
from nid_cli.analysis.parameters.corrections import corrections, know_repair, refuse_corrections
from nid_cli.analysis.parameters.learning import LEARN_STEPS, know_learning
from nid_cli.errors import UsageError
from nid_cli.nets.graph import Graph
from nid_cli.specs import ALIGNMENTS
from nid_cli.specs.canonical import later
from nid_cli.specs.selection import PATHS


def usual_alignments(pairs: str) -> tuple[str, ...]:
    """Of these pairs where none were chosen: two epochs of one model share the places of its neurons, so that aligning
    them is a question of its own."""
    return ("none",) if pairs == PATHS else LmcParameters().align


@dataclass(frozen=True, kw_only=True)
class LmcParameters(Parameters):
    """``bn_reset``: of groups with batch norms, the variant whose statistics are estimated anew after interpolation.
    ``repair``: of groups with hidden layers, the variant whose pre-activations are corrected, in one of ``REPAIRS``.
    ``anatomy``: the variant that measures what the barrier is made of; ``per_sample``: of each sample too.
    """

    align: tuple[str, ...] = ("none", "activation")
    points: int = 9
    bn_reset: bool = False
    learn_steps: int = LEARN_STEPS
    repair: str | None = later(None)
    anatomy: bool = later(False)
    per_sample: bool = later(False)

    def __post_init__(self) -> None:
        know("alignment", self.align, list(ALIGNMENTS))
        know_learning(self.align, self.learn_steps)
        know_repair(self.bn_reset, self.repair)
        if not 2 <= self.points <= 10_001:
            raise UsageError(f"points must lie between 2 and 10001, not {self.points}")
        if self.per_sample and not self.anatomy:
            raise UsageError("--per-sample goes with --anatomy", "add --anatomy")

    def of_each(self, graph: Graph) -> Iterator[Key]:
        """One result for each alignment."""
        variant = corrections(self.bn_reset, self.repair, graph)
        variant |= {name: True for name in ("anatomy", "per_sample") if getattr(self, name)}
        common = self.common("align", "bn_reset", "learn_steps", "repair", "anatomy", "per_sample") | variant
        for name in self.align:
            own = ALIGNMENTS[name].parameters_of({"learn_steps": self.learn_steps})
            yield {"align": name, **common, **own.canonical()}

    def check(self, graphs: Sequence[Graph]) -> None:
        """Some group must have batch norms where they are to be reset, and pre-activations to be repaired."""
        refuse_corrections(self.bn_reset, self.repair, graphs)
