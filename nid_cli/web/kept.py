"""Figures that were drawn, in memory, as long as there is room."""

from __future__ import annotations

import threading
from collections import OrderedDict

ROOM = 48 * 2**20


class Kept:
    """Files by what determines them; those that nobody asked for the longest go first."""

    def __init__(self, room: int = ROOM) -> None:
        self._room, self._used = room, 0
        self._files: OrderedDict[str, bytes] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: str) -> bytes | None:
        """The file, if it is here."""
        with self._lock:
            if key in self._files:
                self._files.move_to_end(key)
            return self._files.get(key)

    def put(self, key: str, content: bytes) -> None:
        """Keeps a file; one that is larger than all the room is not kept."""
        with self._lock:
            self._used -= len(self._files.pop(key, b""))
            self._files[key] = content
            self._used += len(content)
            while self._used > self._room:
                _, oldest = self._files.popitem(last=False)
                self._used -= len(oldest)

    @property
    def used(self) -> int:
        """How many bytes are kept."""
        return self._used
