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


def start(machines: int = 2, **resources: Any) -> Any:
    """A head without cores, and machines with one core each, whose workers import this checkout.

    Returns:
        The ``ray.cluster_utils.Cluster``.
    """
    from ray.cluster_utils import Cluster

    head = {"num_cpus": 0, "object_store_memory": STORE, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    for _ in range(machines):
        add(cluster, **resources)
    return cluster


def add(cluster: Any, path: Path = ROOT, **resources: Any) -> Any:
    """A machine more, with one core; ``path`` is where its workers find nid."""
    environment = {"PYTHONPATH": os.pathsep.join([str(path), os.environ.get("PYTHONPATH", "")])}
    return cluster.add_node(num_cpus=1, object_store_memory=STORE, env_vars=environment, **resources)


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
