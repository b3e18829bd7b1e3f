"""Where results are computed: in this process, where one subject has all threads, or by workers with one thread each.

On the CPU of this machine, unless workers are asked for, the first subjects are computed here and timed: workers are
started where what is left would take several times as long as their start.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import Any

from nid_cli.errors import NidError
from nid_cli.lazy import resolve
from nid_cli.pipeline import engines, pool
from nid_cli.pipeline.analyses.batches import in_batches, in_jobs
from nid_cli.pipeline.analyses.lab import Lab, RegistryStock, data_key
from nid_cli.pipeline.analyses.requests import Request
from nid_cli.pipeline.analyses.work import Part
from nid_cli.pipeline.context import Context
from nid_cli.pipeline.engines import Engine
from nid_cli.pipeline.engines.jobs import Job, Place
from nid_cli.records.base import Record
from nid_cli.registry.results import ResultKey

WORK = "nid_cli.pipeline.analyses.work:compute"
# Seconds of work left from which on workers are worth their start, which imports torch once more.
WORTH_S = 15.0
Keep = Callable[[ResultKey, Record], None]


def workers_for(request: Request, missing: Sequence[ResultKey], engine: str, place: Place) -> Engine | None:
    """The engine whose workers compute the missing results from the first on, where they are asked for; not ready yet.

    Raises:
        UsageError: no such engine or device.
    """
    if missing[0].group is None or (engine == "local" and (place.workers or 1) == 1):
        return None
    chosen = engines.choose(engine, _with_modules(request, place))
    return None if engine == "local" and chosen.has_gpus() else chosen


def _with_modules(request: Request, place: Place) -> Place:
    """The place of an analysis's jobs, with the modules that these import."""
    modules = tuple(reference.partition(":")[0] for reference in (WORK, request.what.compute))
    return replace(place, modules=modules)


def compute(
    context: Context,
    stock: RegistryStock,
    request: Request,
    missing: Sequence[ResultKey],
    keep: Keep,
    workers: Engine | None,
    place: Place,
) -> None:
    """Gives the missing results to ``keep`` as they come.

    Args:
        workers: those of :func:`workers_for`, ready. None: computed here, until workers are worth their start.

    Raises:
        NidError: one cannot be computed; those that came before are kept.
    """
    if workers is not None:
        pool.work_off(workers, Parts(context, stock, request, missing, workers, keep))
        return
    may_spread = missing[0].group is not None and place.workers is None and context.torch_device().type == "cpu"
    other = engines.choose("local", _with_modules(request, place)) if may_spread else None
    left = _here(context, stock, request, missing, keep, other)
    if other is not None and left:
        with pool.ready(other):
            pool.work_off(other, Parts(context, stock, request, left, other, keep))


def _here(
    context: Context,
    stock: RegistryStock,
    request: Request,
    missing: Sequence[ResultKey],
    keep: Keep,
    other: Engine | None,
) -> list[ResultKey]:
    """Computes results in this process, until ``other`` is worth its start; returns those that are left."""
    batches = in_batches(missing) if other is not None else []
    of_batch = {key.text: place for place, batch in enumerate(batches) for key in batch}
    left = {key.text: key for key in missing}
    began, seen = time.perf_counter(), Counter[int]()
    results = resolve(request.what.compute)(
        Lab(stock, context.torch_device(), context.progress), missing, request.parameters
    )
    with closing(results):
        for key, record in results:
            keep(key, record)
            del left[key.text]
            if other is None:
                continue
            batch = of_batch[key.text]
            seen[batch] += 1
            if seen[batch] < len(batches[batch]):
                continue
            if len(seen) == 1:  # which read the data, and found the memory that all others use
                began = time.perf_counter()
                continue
            remaining = len(batches) - len(seen)
            ahead = (time.perf_counter() - began) / (len(seen) - 1) * remaining
            if other.slots() > 1 and remaining > other.slots() and ahead > WORTH_S:
                break
    return list(left.values())


@dataclass(eq=False)
class Sent:
    """A part at work: its keys that have no record yet, by text, and the keys of what was shared for it."""

    part: Part
    left: dict[str, ResultKey] = field(default_factory=dict)
    shared: tuple[str, ...] = ()


class Parts:
    """The parts of an analysis as a source of jobs."""

    def __init__(
        self,
        context: Context,
        stock: RegistryStock,
        request: Request,
        missing: Sequence[ResultKey],
        engine: Engine,
        keep: Keep,
    ) -> None:
        self.context, self.stock, self.request, self.engine, self.keep = context, stock, request, engine, keep
        self.waiting = in_jobs(missing, engine.slots())
        self.total, self.done = len(missing), 0
        # How many jobs that wait or are at work need each shared value.
        self.needed = Counter(name for keys in self.waiting for name in _names(keys))
        self.held: set[str] = set()
        self.losses = Counter[str]()
        context.say(f"{request.what.command}: {self.total} results, {engine.describe(len(self.waiting))}")

    def next(self) -> tuple[Sent, Job] | None:
        """The next part, and what it needs, which is read when it is first needed."""
        if not self.waiting:
            return None
        keys = self.waiting.pop(0)
        names = _names(keys)
        for name, read in names.items():
            if name not in self.held:
                self.engine.share(name, read(self.stock))
                self.held.add(name)
        part = Part(tuple(keys), self.request.parameters)
        sent = Sent(part, {key.text: key for key in keys}, tuple(names))
        return sent, Job(work=WORK, payload=part, shared=sent.shared)

    def is_done(self) -> bool:
        """Whether all parts were sent."""
        return not self.waiting

    def begun(self, token: Sent, worker: Mapping[str, Any]) -> None:
        """Results say which versions made them, and those are the same everywhere."""

    def take(self, token: Sent, message: tuple[int, Record]) -> None:
        """Keeps a record; a lost part goes on without it."""
        place, record = message
        key = token.part.keys[place]
        self.keep(key, record)
        del token.left[key.text]
        self.done += 1
        group = key.group.name if key.group else ""
        self.context.progress(self.request.what.command, self.done, self.total, group)

    def over(self, token: Sent, error: NidError | None) -> None:
        """A part has ended.

        Raises:
            NidError: what ended it before all was computed.
        """
        if error is not None:
            raise error
        self._let_go(token)

    def flush(self) -> None:
        """Nothing was put off."""

    def lost(self, token: Sent, reason: str) -> None:
        """A part was lost: what is left of it is sent again.

        Raises:
            NidError: its next result was lost too often.
        """
        if not (left := list(token.left.values())):
            self._let_go(token)
            return
        self.losses[left[0].text] += 1
        if self.losses[left[0].text] >= pool.TRIES:
            raise NidError(f"{reason}, {pool.TRIES} times", "--workers 1 computes all in one process")
        self.waiting.insert(0, left)
        self.needed.update(list(_names(left)))
        self._let_go(token)
        self.context.say(f"{reason}; its part is sent again")

    def _let_go(self, token: Sent) -> None:
        self.needed.subtract(token.shared)
        for name in token.shared:
            if self.needed[name] <= 0 and name in self.held:
                self.held.discard(name)
                self.engine.forget(name)


def _names(keys: Sequence[ResultKey]) -> dict[str, Callable[[RegistryStock], Any]]:
    """What computing these keys needs, by the name that it is shared by: how it is read."""
    group, _ = keys[0].of_group
    found: dict[str, Callable[[RegistryStock], Any]] = {data_key(group): lambda stock: stock.data(group)}
    files = {c.sha256: c.path for key in keys for model, epoch in key.reads for c in [model.checkpoints[epoch]]}
    if group.fixed_path is not None and group.fixed_sha256 is not None:
        files[group.fixed_sha256] = group.fixed_path
    for sha256, path in files.items():
        found[sha256] = lambda stock, path=path, sha256=sha256: stock.content(path, sha256)  # type: ignore[misc]
    return found
