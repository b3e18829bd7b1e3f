"""Networks of the user's code, taken in: exported, held against the module, their symmetries derived and proven."""

from __future__ import annotations

import dataclasses
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nid_cli.errors import UsageError
from nid_cli.nets.graph import Graph
from nid_cli.pipeline.importing.models import build_module
from nid_cli.specs import InputText

if TYPE_CHECKING:
    from torch import Tensor, nn

    from nid_cli.nets.description import Description
    from nid_cli.nets.export import Exported
    from nid_cli.nets.proof import Proof

# Greatest relative difference between a module and the calls that it became.
AGREEMENT = 1e-6


@dataclass(frozen=True)
class Symmetric:
    """What is known of a network's symmetries: the spaces that hold, and how that was seen.

    ``pinned``: reasons with how many axes of stored tensors each holds; ``seconds``: all of the work.
    """

    graph: Graph
    error: float
    moved: float
    pinned: tuple[tuple[str, int], ...]
    seconds: float

    def sentence(self, name: str) -> str:
        """For people."""
        held = ", ".join(f"{reason} ({count})" for reason, count in self.pinned) or "nothing"
        return (
            f"{name}: {len(self.graph.spaces)} permutation spaces, {100 * self.moved:.1f} % of the parameters moved, "
            f"error {self.error:.1e} in float64; pinned: {held}"
        )


@dataclass(frozen=True)
class TakenIn:
    """A network of the user's code as data; ``state`` are the tensors that his code gave it."""

    symmetric: Symmetric
    state: Mapping[str, Tensor]

    @property
    def text(self) -> str:
        """The text of its description."""
        return self.symmetric.graph.description.text


def take_in(
    reference: str, model_args: Mapping[str, Any], given: InputText, say: Callable[[str], None] = lambda _: None
) -> TakenIn:
    """Builds the module that ``reference`` names and makes it data.

    Args:
        given: what it reads.
        say: told what the user should know.

    Raises:
        NotFoundError, UsageError: the module cannot be made, exported, or is not what its calls compute.
    """
    from nid_cli.nets.calls import Batch
    from nid_cli.nets.description import Input
    from nid_cli.nets.export import export

    began = time.perf_counter()
    module = build_module(reference, model_args)
    dtype = "float32" if given.vocabulary is None else "int64"
    inputs = [Input("input", (Batch(), *given.shape), dtype, given.vocabulary)]
    exported = export(module, inputs)
    if any(not buffer.persistent for buffer in exported.description.buffers.values()):
        again = export(build_module(reference, model_args), inputs)
        _refuse_other_constants(exported.description, again.description)
    for note in exported.notes:
        say(note)
    _hold(module, exported, say)
    symmetric = symmetries_of(Graph(exported.description), exported.state, began)
    return TakenIn(symmetric, exported.state)


def _refuse_other_constants(one: Description, other: Description) -> None:
    """Holds the constants of two modules of the same code against each other.

    Raises:
        UsageError: they differ.
    """
    if changed := [name for name, buffer in one.buffers.items() if other.buffers.get(name) != buffer]:
        raise UsageError(
            f"{changed[0]} is a constant of the network's code, but another one each time that the code runs",
            "checkpoints do not hold it: register_buffer puts it into them, or a fixed seed makes it the same",
        )


def symmetries_of(graph: Graph, state: Mapping[str, Tensor], began: float | None = None) -> Symmetric:
    """Derives a network's symmetries and tries them; spaces that do not hold are pinned.

    Args:
        state: where constants have their values from.
    """
    from nid_cli.nets.proof import prove

    began = time.perf_counter() if began is None else began
    derived = graph.symmetries
    proof: Proof = prove(graph.description, state, derived)
    if proof.at_fault:
        pinned = tuple(sorted({*graph.description.pinned, *proof.at_fault}))
        graph = graph.with_description(dataclasses.replace(graph.description, pinned=pinned))
    reasons = Counter(dict(derived.pinned))
    if graph.description.pinned:
        tried = "does not keep the outputs" if proof.finite else "the outputs are not finite"
        reasons[f"{tried} when it is tried"] += len(graph.description.pinned)
    return Symmetric(graph, proof.error, proof.moved, tuple(reasons.most_common()), time.perf_counter() - began)


def _hold(module: nn.Module, exported: Exported, say: Callable[[str], None]) -> None:
    """Runs the module and the calls that it became on the same inputs.

    Raises:
        UsageError: they differ.
    """
    from nid_cli.nets.agreement import agree
    from nid_cli.nets.example import example
    from nid_cli.nets.trial import only_tensor

    kinds: list[type] = []

    def pick(_module: Any, _inputs: Any, output: Any) -> Any:
        kinds.append(type(output))
        return only_tensor(output)

    hook = module.register_forward_hook(pick)
    try:
        found = agree(
            module.float(),
            exported.description,
            exported.state,
            example(exported.description.inputs),
            training=exported.alike_in_training,
        )
    finally:
        hook.remove()
    held = {"in evaluation": found.evaluation, "in training": found.training}
    if kinds[-1] is not kinds[0]:  # more branches, whose dropouts draw before the others
        say("in training the module puts out more than in evaluation; nid takes what it does in evaluation")
        del held["in training"]
    for how, error in held.items():
        if error > AGREEMENT:
            raise UsageError(
                f"the network as a list of calls differs from its module {how}, by {error:.1e} of the outputs",
                "please report it with the module",
            )
    if found.statistics > AGREEMENT:
        raise UsageError("the network's running statistics differ from those of its module after a step of training")
