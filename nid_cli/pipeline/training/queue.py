"""The runs of a command as a source of jobs: one after another as there is room, longest first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from nid_cli.errors import NidError
from nid_cli.pipeline.engines import Engine
from nid_cli.pipeline.engines.jobs import Job
from nid_cli.pipeline.training.progress import Progress
from nid_cli.pipeline.training.run import RunInTraining, Sent
from nid_cli.pipeline.training.session import Session, data_key


class Queue:
    """The runs in their order; a run that another process trains comes back when all others are done.

    Args:
        strict: the first run that cannot be trained ends all by its error, which is kept with the run otherwise.
    """

    def __init__(self, session: Session, engine: Engine, waiting: Sequence[RunInTraining], strict: bool) -> None:
        self.session, self.engine, self.strict = session, engine, strict
        self.waiting, self.busy = list(waiting), list[RunInTraining]()
        self.open: list[RunInTraining] = []
        self.progress = Progress(session.context, waiting)

    def next(self) -> tuple[Sent, Job] | None:
        """A job of a run that is open, else of the next one."""
        while True:
            for run in self.open:
                if (found := run.next()) is not None:
                    return found
            if not self.waiting:
                return None
            self._open(self.waiting.pop(0), wait=False)

    def is_done(self) -> bool:
        """Whether all runs are; waits for one that another process trains."""
        self._close_done()
        if self.busy:
            self._open(self.busy.pop(0), wait=True)
        return not (self.open or self.waiting or self.busy)

    def _open(self, run: RunInTraining, wait: bool) -> None:
        try:
            if not run.open(self.engine, wait):
                self.busy.append(run)
                return
        except NidError as error:
            run.release()
            if self.strict:
                raise
            run.error = error
        if run.error is not None or run.outcome is not None:  # it cannot be trained, or another command has done it
            self.progress.passed_over(run)
            self._let_go()
            return
        self.open.append(run)
        self.progress.opened(run, self.engine.describe(len(run.tasks)))

    def take(self, token: Sent, message: Any) -> None:
        """Passes a message to its run, and to the user."""
        token.run.take(token, message)
        self.progress.tell(token.run, message)

    def begun(self, token: Sent, worker: Mapping[str, Any]) -> None:
        """Passes on who trains the models."""
        token.run.begun(token, worker)

    def over(self, token: Sent, error: NidError | None) -> None:
        """Passes on the end of a job; a run that is done lets go of what only it needed."""
        left = list(token.tasks)
        token.run.over(token, error)
        self.progress.ended_with(token.run, left)
        self._close_done()

    def lost(self, token: Sent, reason: str) -> None:
        """Passes on the loss of a job."""
        before = list(token.tasks)
        again = token.run.lost(token, reason)
        self.progress.ended_with(token.run, [model_id for model_id in before if model_id not in token.tasks])
        if again:
            self.session.context.say(f"{self.progress.names(token)}: {reason}; sent again")
        self._close_done()

    def flush(self) -> None:
        """Writes what was said."""
        self.session.flush()

    def release(self) -> None:
        """Lets go of the runs that are not done."""
        for run in self.open:
            run.release()

    def _close_done(self) -> None:
        for run in [run for run in self.open if run.is_done]:
            self.open.remove(run)
            self.flush()
            run.close()
            self._let_go()

    def _let_go(self) -> None:
        needed = {data_key(run.request.spec.data) for run in (*self.waiting, *self.busy, *self.open)}
        self.session.keep_only(self.engine, needed | {key for run in self.open for key in run.keys if key is not None})
