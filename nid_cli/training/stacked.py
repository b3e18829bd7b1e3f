"""The training of several models of one run together, as a generator of epochs: each step of all is one step.

Small networks leave a GPU waiting for the next call; stacked, each call serves all models. What becomes of a model is
what :func:`nid_cli.training.loop.train_model` makes of it, but for rounding, whoever is stacked with it.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

from nid_cli.data.tensors import Data
from nid_cli.metrics import Metrics, Tally, evaluate_each, losses_of
from nid_cli.nets.functional import State
from nid_cli.nets.graph import Graph
from nid_cli.nets.stacking import forward, stack, unstack
from nid_cli.nets.symmetry import Constraint
from nid_cli.specs import RunSpec
from nid_cli.training.batches import batches_of
from nid_cli.training.loop import Diverged, Epoch, Snapshot, finite
from nid_cli.training.optimizer import ConstrainedOptimizer, stack_moments, unstack_moments

Outcome = Epoch | Diverged | None


def train_stacked(
    graph: Graph,
    spec: RunSpec,
    data: Data,
    constraint: Constraint,
    constants: State,
    starts: Sequence[Snapshot],
    order_seeds: Sequence[int],
) -> Iterator[list[Outcome]]:
    """Trains models of one group from ``starts``, all at one epoch, to ``spec.length``: after each epoch (and first at
    epoch 0) yields what became of each.

    That is its epoch, whose seconds are an equal share of what the stack took; or ``Diverged``, the first time that
    its loss or weights are not finite; then None. The others go on, and the training ends when none is left. Snapshots
    are views of the stack, which go on changing with the next epoch.

    Args:
        graph: one that can be stacked (``nets.stackable``).
        starts: with the optimizers' states of all models, or of none; on the data's device or, to save its memory, not.
        order_seeds: one for each model.

    Raises:
        ValueError: the models are not at one epoch and step.
    """
    if len({start.epoch for start in starts}) != 1:
        raise ValueError("stacked models are to start at one epoch")
    models, begin = len(starts), starts[0].epoch
    device = data.train.inputs.device
    state = {name: tensor.to(device) for name, tensor in stack([start.state for start in starts]).items()}
    parameters = {name: state[name].requires_grad_() for name in graph.trained}
    sizes = {name: tensor[0].numel() for name, tensor in parameters.items()}
    optimizer = ConstrainedOptimizer(spec.optimizer, parameters, constraint.stacked(sizes, models), stacked=True)
    optimizer.load_state(stack_moments([start.optimizer for start in starts]))
    going = [True] * models

    def outcomes(epoch: int, began: float, train: list[Metrics]) -> list[Outcome]:
        splits = {split: evaluate_each(graph, state, constants, data, split) for split in ("val", "test")}
        splits = {"train": train} | splits
        live = unstack({name: tensor.detach() for name, tensor in state.items()})
        moments = unstack_moments(optimizer.state(), models)
        seconds = (time.perf_counter() - began) / models
        found: list[Outcome] = [
            Epoch({split: each[i] for split, each in splits.items()}, seconds, Snapshot(epoch, live[i], moments[i]))
            if going[i]
            else None
            for i in range(models)
        ]
        return found

    if begin == 0:
        began = time.perf_counter()
        yield outcomes(0, began, evaluate_each(graph, state, constants, data, "train"))
    for epoch in range(begin + 1, spec.length + 1):
        began = time.perf_counter()
        tally = Tally()
        for batch in batches_of(graph, spec, data, order_seeds, epoch):
            optimizer.set_learning_rate(batch.learning_rate)
            inputs, targets = (part.unflatten(0, (models, -1)) for part in (batch.inputs, batch.targets))
            logits = forward(graph, state, constants, inputs, training=True)
            losses = losses_of(logits, targets)
            optimizer.step(losses.sum())
            tally.add_each(logits.detach(), targets, losses)
        found = outcomes(epoch, began, tally.results(models))
        for i, event in enumerate(found):
            if isinstance(event, Epoch) and not finite(graph, event):
                found[i], going[i] = Diverged(epoch), False
        yield found
        if not any(going):
            return
