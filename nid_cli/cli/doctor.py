"""``nid doctor``."""

from __future__ import annotations

import typer

from nid_cli.cli import options, output, render
from nid_cli.pipeline.context import Context
from nid_cli.records.housekeeping import Observation

EXAMPLES = options.examples("nid doctor", "nid doctor --json")


def doctor(
    device: options.Device = "auto",
    registry: options.RegistryOption = None,
    data_dir: options.DataDir = None,
    as_json: options.Json = False,
) -> None:
    """Look at versions, device, SQLite, registry, data and disk; exit 1 where something will not work."""
    from nid_cli.pipeline.housekeeping.doctor import examine

    found = list(examine(Context(registry=registry, data_dir=data_dir, device=device)))

    def human() -> None:
        render.table(("what", "value", "status"), [(o.what, o.value, o.status) for o in found])
        for observation in found:
            if observation.advice:
                render.say(f"{observation.what}: {observation.advice}")

    output.show(Observation, [o.values() for o in found], as_json=as_json, export=None, human=human)
    if any(o.status == "problem" for o in found):
        raise typer.Exit(1)
