"""Trains the missing members of runs, all through one pool, and records them."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace

from nid_cli.pipeline import engines, pool
from nid_cli.pipeline.context import Context
from nid_cli.pipeline.engines.jobs import Place
from nid_cli.pipeline.training.outcome import Trained
from nid_cli.pipeline.training.queue import Queue
from nid_cli.pipeline.training.requests import Request
from nid_cli.pipeline.training.run import WORK, RunInTraining
from nid_cli.pipeline.training.session import Session


def train(
    context: Context,
    requests: Sequence[Request],
    *,
    name: str | None = None,
    engine: str = "local",
    place: Place | None = None,
    stack: int | None = None,
) -> list[Trained]:
    """Trains those members of runs that are missing; resumes what was cut off.

    Args:
        name: of a new group.
        stack: how many models a worker trains side by side (None: what suits the device).

    Raises:
        Interrupted: the user stopped it; the same call goes on.
        NidError: the data are missing, the name is taken, the registry or the disk refuses.
    """
    if context.device not in ("auto", "cpu"):
        context.torch_device()
    with ExitStack() as exits:
        session = Session(context, exits)
        runs = [RunInTraining(session, request, name, stack) for request in requests]
        work_off(session, [run for run in runs if not run.find()], engine, place or Place(device=context.device))
    return [run.outcome for run in runs if run.outcome is not None]


def work_off(session: Session, runs: Sequence[RunInTraining], engine: str, place: Place, strict: bool = True) -> None:
    """Trains runs in their order.

    Args:
        strict: see :class:`Queue`.
    """
    if not runs:
        return
    chosen = engines.choose(engine, replace(place, modules=(WORK.partition(":")[0],)))
    with pool.ready(chosen):
        queue = Queue(session, chosen, runs, strict)
        try:
            pool.work_off(chosen, queue)
        finally:
            queue.release()
