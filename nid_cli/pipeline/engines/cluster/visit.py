"""What a cluster runs for a job, sent as code and not by name: a machine where nid is missing, or another version, says
so, and does not fail at a name that it cannot find.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from nid_cli.pipeline.engines.cluster.items import BEGUN, UNFIT


def visit(job: bytes, shared: Mapping[str, Any], settings: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Says who works, then the job's messages, then that it is over.

    Args:
        job: a pickled :class:`Job`. shared: for each of its keys a reference to what was packed.
        settings: ``versions`` that must be the same here, ``threads``, ``gpu``, ``debug``.
    """
    import os
    import platform
    from contextlib import suppress

    import ray

    found: Mapping[str, str] = {}
    with suppress(ImportError):  # no nid at all, or one from before
        from nid_cli.registry.invocations import versions

        found = versions()
    who = {
        "host": platform.node(),
        "system": platform.platform(),
        "cpus": os.cpu_count(),
        "pid": os.getpid(),
        "node": ray.get_runtime_context().get_node_id(),
        "device": "cuda" if settings["gpu"] else "cpu",
        "versions": found,
    }
    if any(found.get(package) != ours for package, ours in settings["versions"].items()):
        yield UNFIT, who
        return
    if settings["debug"]:
        os.environ["NID_DEBUG"] = "1"

    from nid_cli.pipeline.engines.cluster.worker import work

    yield BEGUN, who
    yield from work(job, shared, settings)
