"""The machines of a Ray cluster, watched: which are there, with how much, and which are gone.

Ray notices a machine that fell silent after a minute or more; here it takes some ten seconds.
"""

from __future__ import annotations

import selectors
import socket
import threading
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from nid_cli.errors import NidError
from nid_cli.pipeline.engines.cluster.connection import answers

LOOK_S = 1.0
# A machine that is there answers a knock at once, whatever it works on: that is its kernel's affair.
KNOCK_EVERY_S, KNOCK_S, KNOCKS = 2.0, 2.0, 3
# Without a list of machines for so long, and without an answer of the main machine, the cluster is gone. Ray ends this
# process, with a trace of its C++, after 60 s.
GONE_S = 10.0


@dataclass(frozen=True)
class Node:
    """A machine: Ray's id of it, its name, where it listens, and all that it has (``CPU``, ``GPU``, ``memory``)."""

    id: str
    host: str
    address: str
    resources: Mapping[str, float]

    def room(self, demands: Mapping[str, float]) -> int:
        """For how many jobs of such demands it has room when nothing else runs there."""
        return int(min((self.resources.get(name, 0.0) + 1e-6) // need for name, need in demands.items() if need))


class Nodes:
    """Looks in a thread of its own, because Ray's answers stay away where the main machine is gone."""

    def __init__(self, ray: Any, address: str) -> None:
        self._ray, self._address = ray, address
        self._present: dict[str, Node] = {}
        # How many times each machine has not answered. Those that never did may be out of reach of a knock alone.
        self._silent: dict[str, int] = {}
        self._own = ray.get_runtime_context().get_node_id()
        self._seen = time.monotonic()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def start(self) -> None:
        """Looks once, then goes on looking."""
        self._look()
        self._thread.start()

    def stop(self) -> None:
        """Looks no more: who asks Ray after it was left ends the process."""
        self._ended.set()
        self._thread.join(2 * LOOK_S)

    def present(self) -> list[Node]:
        """The machines that are there."""
        return [node for node in self._present.values() if self._silent.get(node.id, 0) < KNOCKS]

    def is_gone(self, node_id: str) -> bool:
        """Whether the machine, which was there, is not there any more."""
        return node_id not in {node.id for node in self.present()}

    def room(self, demands: Mapping[str, float], without: Collection[str] = ()) -> int:
        """For how many jobs of such demands the machines have room, but for those ``without``."""
        return sum(node.room(demands) for node in self.present() if node.id not in without)

    def check(self) -> None:
        """
        Raises:
            NidError: the cluster as a whole is gone, or this machine's part of it, through which all goes.
        """
        if self.is_gone(self._own):
            raise NidError(
                "Ray has ended on this machine; what was recorded is kept",
                "`ray start` has it belong to the cluster again; the same command goes on from there",
            )
        if time.monotonic() - self._seen > GONE_S and not answers(self._address, KNOCK_S):
            raise NidError(
                f"the Ray cluster at {self._address} is gone; what was recorded is kept",
                "the same command goes on from there, once the cluster is back",
            )

    def _watch(self) -> None:
        knocked = time.monotonic()
        while not self._ended.wait(LOOK_S):
            try:
                self._look()
            except Exception:  # whatever Ray says of it: check() says what it means
                continue
            if time.monotonic() - knocked > KNOCK_EVERY_S:
                self._knock()
                knocked = time.monotonic()

    def _look(self) -> None:
        found = [entry for entry in self._ray.nodes() if entry["Alive"]]
        self._present = {
            entry["NodeID"]: Node(
                id=entry["NodeID"],
                host=entry["NodeManagerHostname"],
                address=f"{entry['NodeManagerAddress']}:{entry['NodeManagerPort']}",
                resources=entry["Resources"],
            )
            for entry in found
        }
        self._seen = time.monotonic()

    def _knock(self) -> None:
        nodes = list(self._present.values())
        heard = _answering({node.address for node in nodes})
        known = self._silent
        self._silent = {node.id: known[node.id] + 1 for node in nodes if node.id in known}
        self._silent |= {node.id: 0 for node in nodes if node.address in heard}


def _answering(addresses: Collection[str]) -> set[str]:
    """Those of many addresses (IP:PORT) where something listens; all are asked at once."""
    heard: set[str] = set()
    until = time.monotonic() + KNOCK_S
    with selectors.DefaultSelector() as asked:
        for address in addresses:
            host, _, port = address.rpartition(":")
            asking = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
            asking.setblocking(False)
            asking.connect_ex((host, int(port)))
            asked.register(asking, selectors.EVENT_WRITE, (address, asking))
        while asked.get_map() and (left := until - time.monotonic()) > 0:
            for key, _ in asked.select(left):
                address, asking = key.data
                if asking.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0:
                    heard.add(address)
                asked.unregister(asking)
                asking.close()
        for key in list(asked.get_map().values()):
            key.data[1].close()
    return heard
