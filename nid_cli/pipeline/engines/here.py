"""One job after another in this process, on a device that jobs would only take from each other."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any

from nid_cli.pipeline.engines import worker
from nid_cli.pipeline.engines.jobs import Event, Job, Over, Place, Said


class Here:
    """The engine of a GPU, and of a single job on the CPU, which has all its threads."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self._device: Any = None
        self._held: dict[str, Any] = {}
        self._waiting: deque[tuple[int, Job]] = deque()
        self._running: tuple[int, Iterator[Any]] | None = None

    def prepare(self) -> None:
        """Nothing takes time."""

    def describe(self, jobs: int) -> str:
        """On which device."""
        return f"on {self._on()}"

    def slots(self) -> int:
        """One."""
        return 1

    def room(self) -> int:
        """One job, as soon as there is none."""
        return 0 if self._waiting or self._running else 1

    def share(self, key: str, value: Any) -> None:
        """Has it on the device, if it can be moved there."""
        self._held[key] = value.to(self._on()) if hasattr(value, "to") else value

    def forget(self, key: str) -> None:
        """Lets it go."""
        self._held.pop(key, None)

    def submit(self, number: int, job: Job) -> None:
        """Takes a job."""
        self._waiting.append((number, job))

    def wait(self) -> list[Event]:
        """The next message of the job at hand."""
        if self._running is None:
            if not self._waiting:
                return []
            number, job = self._waiting.popleft()
            self._running = number, worker.messages(job, self._held, self._on())
        number, messages = self._running
        try:
            return [Said(number, next(messages))]
        except StopIteration:
            self._running = None
            return [Over(number)]
        except Exception as error:
            self._running = None
            return [Over(number, worker.failure(error))]

    def close(self) -> None:
        """Drops what has not begun."""
        self._waiting.clear()
        self._running = None

    def _on(self) -> Any:
        if self._device is None:
            from nid_cli.pipeline.devices import torch_device

            self._device = torch_device(self.place.device)
        return self._device
