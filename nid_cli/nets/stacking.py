"""Networks of one graph run together: small ones keep a GPU busy only if each call of a function serves several.

A *stacked* state has the tensors of several states along a new first axis, that of the models. Every value is computed
for each model alone: what one of them holds, infinities included, does not touch another.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from nid_cli.nets.functional import State, plan_of
from nid_cli.nets.functions import ATTENTION
from nid_cli.nets.graph import INPUT, Graph
from nid_cli.nets.interpreter import Observe, run
from nid_cli.nets.plan import Plan
from nid_cli.nets.together import stacked_plan


def stack(states: Sequence[Mapping[str, Tensor]]) -> State:
    """The states of several models as one, with a first axis for them: new tensors."""
    return {name: torch.stack([state[name] for state in states]) for name in states[0]}


def unstack(stacked: Mapping[str, Tensor]) -> list[State]:
    """The state of each model: views."""
    return [{name: tensor[i] for name, tensor in stacked.items()} for i in range(models_of(stacked))]


def models_of(stacked: Mapping[str, Tensor]) -> int:
    """How many models a stacked state holds."""
    return len(next(iter(stacked.values())))


def forward(
    graph: Graph,
    stacked: Mapping[str, Tensor],
    constants: Mapping[str, Tensor],
    x: Tensor,
    training: bool = False,
    own: bool = True,
) -> Tensor:
    """Each model's outputs (models x N x ...) for its own prepared inputs (models x N x \\*shape).

    In training the statistics of batch norms are each model's own, and the running ones change in place.

    Args:
        constants: what the models share (``Graph.constants``), without an axis for them.
        own: whether ``x`` has the axis of models; otherwise all of them read the same.
    """
    return record(graph, stacked, constants, {INPUT: x}, (graph.output,), training, own)[graph.output]


def record(
    graph: Graph,
    stacked: Mapping[str, Tensor],
    constants: Mapping[str, Tensor],
    given: Mapping[str, Tensor],
    wanted: Collection[str],
    training: bool = False,
    own: bool = True,
) -> dict[str, Tensor]:
    """``functional.record`` of each model; ``own``: whether the given values have the axis of models too."""
    return run_stacked(plan_of(graph), stacked, constants, given, wanted, training, own)


def run_stacked(
    plan: Plan,
    stacked: Mapping[str, Tensor],
    constants: Mapping[str, Tensor],
    given: Mapping[str, Tensor],
    wanted: Collection[str],
    training: bool = False,
    own: bool = True,
    observe: Observe | None = None,
) -> dict[str, Tensor]:
    """``interpreter.run`` of each model; ``own``: whether the given values have the axis of models too."""

    stored = {**stacked, **constants}
    with _batched_attention(plan, next(iter(given.values())).device):
        return run(stacked_plan(plan, frozenset(constants), own), stored, given, wanted, training, observe)


@contextmanager
def _batched_attention(plan: Plan, device: torch.device) -> Iterator[None]:
    """On the CPU, torch's fused attention knows no further axis; the same by products does."""
    if device.type == "cpu" and any(call.function == ATTENTION for call in plan.calls):
        with sdpa_kernel(SDPBackend.MATH):
            yield
    else:
        yield
