"""A Ray cluster of two simulated machines with a core each, on this one, until it is killed.

    python -m tests.benchmarks.cluster

Prints its address, for ``--engine ray --address``.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
STORE = 200 * 2**20


def start(machines: int = 2, store: int = STORE) -> Any:
    """A head without cores, and machines with one core each, whose workers import this checkout.

    Returns:
        The ``ray.cluster_utils.Cluster``.
    """
    from ray.cluster_utils import Cluster

    cluster = Cluster(
        initialize_head=True,
        head_node_args={"num_cpus": 0, "object_store_memory": store, "include_dashboard": False},
    )
    for _ in range(machines):
        add(cluster, store=store)
    return cluster


def add(cluster: Any, path: Path = ROOT, store: int = STORE) -> Any:
    """A machine more; ``path`` is where its workers find nid."""
    return cluster.add_node(num_cpus=1, object_store_memory=store, env_vars={"PYTHONPATH": str(path)})


def main() -> None:
    """Until it is killed."""
    cluster = start()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        sys.stdout.write(f"{cluster.address}\n")
        sys.stdout.flush()
        signal.pause()
    except KeyboardInterrupt:
        return
    finally:
        cluster.shutdown()


if __name__ == "__main__":
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "error")
    main()
