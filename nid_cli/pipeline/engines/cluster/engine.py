"""Workers of a Ray cluster. Each job is a task that streams its messages; nothing but its arguments and its messages
travels, so machines need no common files.

Ray sends no job again by itself: a generator that it repeats, and that yields another number of items, hangs its reader
or loses items. A job whose worker is gone is Lost, and whoever submitted it decides.
"""

from __future__ import annotations

import pickle
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from nid_cli import stopping
from nid_cli.errors import NidError, UsageError
from nid_cli.pipeline.engines.cluster import connection, items, visit
from nid_cli.pipeline.engines.cluster.nodes import Nodes
from nid_cli.pipeline.engines.cluster.packing import pack
from nid_cli.pipeline.engines.jobs import ENDED, Begun, Event, Job, Lost, Over, Place, Said

# How many messages of a job may lie between worker and driver.
AHEAD = 2
# How long wait() waits, and how long Ray may take to hand out what it has announced as ready.
MOMENT_S, HAND_OVER_S = 0.5, 1.0
# After a machine is gone, what it had said may still come.
LAST_WORDS_S = 5.0
# How long a job waits for a machine that could take it, where there is none.
PATIENCE_S = 120.0
LEAVE_S = 3.0
# The packages whose versions must be the driver's.
SAME = ("nid", "torch")

# Ray's errors that say that a job was cut off, by name, since versions of Ray do not know all of them.
CUT_OFF: dict[str, str] = {
    "WorkerCrashedError": "its worker process was killed",
    "NodeDiedError": "its machine is gone",
    "OutOfMemoryError": "its worker was killed because its machine ran out of memory",
    "OutOfDiskError": "its machine has no room left for messages",
    "ObjectStoreFullError": "its machine has no memory left for messages",
    "OwnerDiedError": "its worker process is gone",
    "ObjectLostError": "a message was lost with its machine",
    "TaskCancelledError": "it was cancelled on the cluster",
    "RayActorError": "its worker process is gone",
    "RpcError": "its machine cannot be reached",
}


@dataclass
class _Stream:
    """A job on the cluster: Ray's generator of its items, the item that was announced and has not arrived yet.

    ``heard``: when its last item came; ``without_room``: since when no machine could take it.
    """

    job: Job
    items: Any
    announced: Any = None
    worker: dict[str, Any] = field(default_factory=dict)
    heard: float = field(default_factory=time.monotonic)
    without_room: float | None = None

    @property
    def awaited(self) -> Any:
        """What Ray is to wait for."""
        return self.items if self.announced is None else self.announced


class Cluster:
    """The engine of many machines."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self._ray: Any = None
        self._nodes: Any = None
        self._visit: Any = None
        self._ours: dict[str, str] = {}
        self._gpus = 0.0
        self._shared: dict[str, Any] = {}
        self._waiting: deque[tuple[int, Job]] = deque()
        self._streams: dict[int, _Stream] = {}
        self._unfit: dict[str, NidError] = {}

    def prepare(self) -> None:
        """Becomes a driver of the cluster.

        Raises:
            UsageError: a device or an address that makes no sense there.
            NidError: no Ray, no cluster, or no GPU in it where one is asked for.
        """
        from nid_cli.registry.invocations import versions

        kind = self.place.device.partition(":")
        if kind[0] not in ("auto", "cpu", "cuda") or kind[2]:
            raise UsageError(f"on a cluster Ray chooses the device, not {self.place.device}", "auto, cpu or cuda")
        if kind[0] == "cpu" and self.place.gpus:
            raise UsageError(f"a share of {self.place.gpus:g} GPUs makes no sense with --device cpu")
        if self.place.gpus is not None and (self.place.gpus < 0 or (self.place.gpus > 1 and self.place.gpus % 1)):
            raise UsageError(f"Ray gives a share of one GPU, or whole GPUs, not {self.place.gpus:g}")
        self._ray, address = connection.connect(self.place.address)
        import ray.cloudpickle

        ray.cloudpickle.register_pickle_by_value(visit)
        self._visit = ray.remote(visit.visit)
        self._ours = {package: versions()[package] for package in SAME}
        self._nodes = Nodes(self._ray, address)
        self._nodes.start()
        has = self._nodes.room({"GPU": self.place.gpus or 1.0}) > 0
        if not has and (kind[0] == "cuda" or self.place.gpus):
            raise NidError(f"the Ray cluster at {address} has no GPU", "--device auto computes on CPUs then")
        if has and kind[0] != "cpu":
            self._gpus = 1.0 if self.place.gpus is None else self.place.gpus

    def describe(self, jobs: int) -> str:
        """On how many machines, how many side by side."""
        machines = len({node.host for node in self._nodes.present() if node.room(self._demands())})
        words = "1 machine" if machines == 1 else f"{machines} machines"
        return f"{min(self.slots(), jobs)} at a time on a Ray cluster of {words}"

    def slots(self) -> int:
        """For how many the machines that are there now have room; at least one, because machines may come."""
        room = max(1, self._nodes.room(self._demands(), self._unfit))
        return min(room, self.place.workers or room)

    def has_gpus(self) -> bool:
        """Whether jobs run on GPUs."""
        return self._gpus >= 1

    def weighs(self) -> bool:
        """Whether it looks at the memory that jobs say they take."""
        return True

    def room(self) -> int:
        """As many jobs as there are slots, and one more for each machine's idle moments."""
        return self.slots() + 1 - len(self._streams) - len(self._waiting)

    def share(self, key: str, value: Any) -> None:
        """Into Ray's object store, from where each machine fetches it once."""
        try:
            self._shared[key] = self._ray.put(pack(value))
        except self._ray.exceptions.RayError as error:
            raise NidError(f"Ray's object store does not take the data: {_first_line(error)}") from None

    def forget(self, key: str) -> None:
        """Ray lets it go after the last job that names it."""
        self._shared.pop(key, None)

    def submit(self, number: int, job: Job) -> None:
        """Takes a job."""
        self._waiting.append((number, job))
        self._give_out()

    def wait(self) -> list[Event]:
        """What has come of all streams, an item of each; also of what is gone without a word."""
        self._nodes.check()
        self._give_out()
        waitables = {stream.awaited: number for number, stream in self._streams.items()}
        if not waitables:
            time.sleep(MOMENT_S / 10)
            return []
        ready, _ = self._ray.wait(list(waitables), num_returns=1, timeout=MOMENT_S)
        if ready:
            ready, _ = self._ray.wait(list(waitables), num_returns=len(waitables), timeout=0)
        events: list[Event] = []
        for waitable in ready:
            stream = self._streams.get(waitables[waitable])
            if stream is not None and stream.awaited is waitable:  # it may have been sent again just now
                events += self._heard(waitables[waitable], stream)
        events += self._given_up()
        self._give_out()
        return events

    def close(self) -> None:
        """Ends all tasks, and leaves the cluster, which ends what is left of this driver's."""
        self._waiting.clear()
        if self._nodes is None:
            return
        self._nodes.stop()
        with stopping.put_off():  # Ray ends the process in its own way if it is left twice
            # It waits for a cluster that is gone; the program shall not.
            leaving = threading.Thread(target=self._leave, daemon=True)
            leaving.start()
            leaving.join(LEAVE_S)
        self._streams.clear()
        self._shared.clear()
        self._nodes = None

    def _leave(self) -> None:
        for stream in self._streams.values():
            self._cancel(stream)
        self._ray.shutdown()

    def _demands(self, job: Job | None = None) -> dict[str, float]:
        memory = job.memory if job else 0
        return {"CPU": float(self.place.threads or 1), "GPU": self._gpus, "memory": float(memory)}

    def _give_out(self) -> None:
        while self._waiting and (self.place.workers is None or len(self._streams) < self.place.workers):
            number, job = self._waiting.popleft()
            self._streams[number] = self._sent(job)

    def _sent(self, job: Job) -> _Stream:
        demands = self._demands(job)
        settings = {
            "versions": self._ours,
            "threads": self.place.threads,
            "gpu": self._gpus > 0,
            "debug": connection.is_debugged(),
        }
        task = self._visit.options(
            name=job.work,
            num_returns="streaming",
            max_retries=0,
            num_cpus=demands["CPU"],
            num_gpus=demands["GPU"],
            memory=job.memory or None,
            label_selector={"ray.io/node-id": f"!in({','.join(sorted(self._unfit))})"} if self._unfit else None,
            _generator_backpressure_num_objects=AHEAD,
        )
        shared = {key: self._shared[key] for key in job.shared}
        return _Stream(job, task.remote(pickle.dumps(job), shared, settings))

    def _heard(self, number: int, stream: _Stream) -> list[Event]:
        """The events of the stream's next item, if it has arrived."""
        try:
            if stream.announced is None:
                stream.announced = next(stream.items)
            kind, value = self._ray.get(stream.announced, timeout=HAND_OVER_S)
        except self._ray.exceptions.GetTimeoutError:
            return []  # it is on its way, or lost with its machine
        except StopIteration:
            return self._ended(number, Lost(number, CUT_OFF["WorkerCrashedError"]))
        except Exception as error:
            return self._ended(number, self._cut_off(number, error))
        stream.announced, stream.heard = None, time.monotonic()
        if kind == items.BEGUN:
            stream.worker = value
            return [Begun(number, value)]
        if kind == items.UNFIT:
            return self._refused(number, stream, value)
        return self._ended(number, Over(number, value)) if kind == items.OVER else [Said(number, value)]

    def _ended(self, number: int, event: Event) -> list[Event]:
        assert isinstance(event, ENDED)
        del self._streams[number]
        return [event]

    def _cut_off(self, number: int, error: Exception) -> Event:
        """What one of Ray's errors means; those of the job itself come as its last item."""
        for kind in type(error).__mro__:
            if kind.__name__ in CUT_OFF:
                return Lost(number, CUT_OFF[kind.__name__])
        cause = getattr(error, "cause", None) or error
        return Over(number, NidError(f"{type(cause).__name__}: {_first_line(cause)}"))

    def _refused(self, number: int, stream: _Stream, who: dict[str, Any]) -> list[Event]:
        """A machine with other versions: the first job that meets it says so, and no other one is sent there."""
        node, unfit = who["node"], _unfit(who, self._ours)
        if node in self._unfit:  # it was sent there before that was known
            self._streams[number] = self._sent(stream.job)
            return []
        self._unfit[node] = unfit
        events = self._ended(number, Over(number, unfit))
        for other, waiting in self._streams.items():
            if not waiting.worker:
                self._cancel(waiting)
                self._streams[other] = self._sent(waiting.job)
        return events

    def _given_up(self) -> list[Event]:
        """Jobs on machines that are gone, and jobs that no machine can take."""
        events: list[Event] = []
        now = time.monotonic()
        for number, stream in list(self._streams.items()):
            end: Event | None = None
            if stream.worker:
                if now - stream.heard > LAST_WORDS_S and self._nodes.is_gone(stream.worker["node"]):
                    end = Lost(number, f"its machine {stream.worker['host']} is gone")
            elif self._nodes.room(self._demands(stream.job), self._unfit):
                stream.without_room = None
            else:
                stream.without_room = stream.without_room or now
                error = self._unfit_for(stream.job)
                if error or now - stream.without_room > PATIENCE_S:
                    end = Over(number, error or self._no_room(stream.job))
            if end is not None:
                self._cancel(stream)
                events += self._ended(number, end)
        return events

    def _unfit_for(self, job: Job) -> NidError | None:
        """Why a machine that has room for the job does not get it."""
        room = (node.id for node in self._nodes.present() if node.room(self._demands(job)))
        return next((self._unfit[node] for node in room if node in self._unfit), None)

    def _no_room(self, job: Job) -> NidError:
        demands = {name: need for name, need in self._demands(job).items() if need}
        words = [f"{demands['CPU']:g} CPUs"]
        words += [f"{demands['GPU']:g} GPUs"] if "GPU" in demands else []
        words += [f"{demands['memory'] / 1e9:.1f} GB of memory"] if "memory" in demands else []
        return NidError(f"no machine of the Ray cluster has {' and '.join(words)} for a job", "`ray status` lists them")

    def _cancel(self, stream: _Stream) -> None:
        try:
            self._ray.cancel(stream.items, force=True)
        except Exception:  # the task is over, or its machine gone: either will do
            return


def _unfit(who: dict[str, Any], ours: dict[str, str]) -> NidError:
    """The sentence on a worker with other versions."""
    theirs = who["versions"]
    differ = [package for package, version in ours.items() if theirs and theirs.get(package) != version] or ["nid"]
    words = [
        f"{package} {theirs[package]} instead of {ours[package]}"
        if package in theirs
        else f"no {package} (here {ours[package]})"
        for package in differ
    ]
    pins = " ".join(f"{package}=={ours[package]}" for package in differ)
    sentence = f"the machine {who['host']} of the Ray cluster has {' and '.join(words)}"
    return NidError(sentence, f"pip install {pins} there")


def _first_line(error: BaseException) -> str:
    return str(error).strip().split("\n", 1)[0]
