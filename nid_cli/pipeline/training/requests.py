"""What a training is asked: settings as they are written, resolved with the files and the code that they name.

Whoever only asks what a training would be needs neither torch nor the registry.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nid_cli import recipes
from nid_cli.data.catalog import is_data_file
from nid_cli.errors import UsageError
from nid_cli.graphs import graph_of
from nid_cli.pipeline.context import Context
from nid_cli.pipeline.importing.models import is_model
from nid_cli.specs import DataSpec, RunSpec, canonical_json

if TYPE_CHECKING:
    from nid_cli.data.file import DataFile
    from nid_cli.pipeline.training.own import OwnNetwork

# Of a network of the user's own: the function's arguments, and what records call it.
OF_CODE = ("model_arg", "arch_name")


@dataclass(frozen=True)
class Request:
    """One run with its members 1..``seeds``; ``file`` and ``own`` are the data and the network that the user gave."""

    spec: RunSpec
    seeds: int
    save_every: int
    file: DataFile | None = None
    own: OwnNetwork | None = None

    @property
    def description(self) -> str | None:
        """The text of the network, where it is the user's own."""
        return self.own.text if self.own else None

    def settings(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """All settings, as they can be written into a configuration file; ``given`` names files and code."""
        values = self.spec.to_dict() | {"seeds": self.seeds, "save_every": self.save_every}
        resolved = {name: value for name, value in values.items() if name in recipes.KNOWN and value is not None}
        named = [name for name, is_own in (("dataset", self.file), ("arch", self.own)) if is_own]
        return resolved | {name: given[name] for name in (*named, *OF_CODE) if name in given}


@dataclass
class Seen:
    """Files that were read and networks that were taken in, so that many trainings of them do it once."""

    files: dict[str, DataFile] = field(default_factory=dict)
    networks: dict[str, OwnNetwork] = field(default_factory=dict)


def requested(context: Context, settings: Mapping[str, Any], seen: Seen | None = None) -> Request:
    """Resolves settings; a network of the user's own is made and taken in, where it was not seen before.

    Args:
        settings: any of ``recipes.KNOWN`` and ``OF_CODE``; ``dataset`` may be a file, ``arch`` a MODEL.

    Raises:
        NotFoundError, UsageError: what they name is not there, or they make no training.
    """
    seen = seen or Seen()
    known = {name: value for name, value in settings.items() if name not in OF_CODE}
    named, arch = str(known.get("dataset", "")), str(known.get("arch", ""))
    file = None
    if is_data_file(named):
        file = _file(named, known.get("data", {}), seen)
    own = None
    if is_model(arch):
        data = recipes.data_of(known, file.spec if file else None)
        known["arch"] = name = str(settings.get("arch_name", arch.rpartition(":")[2]))
        arguments = settings.get("model_arg", {})
        if not isinstance(arguments, Mapping):
            raise UsageError("model_arg must be a table of arguments")
        own = _network(context, arch, arguments, data, name, seen)
    elif surplus := [name for name in OF_CODE if name in settings]:
        raise UsageError(f"--{surplus[0].replace('_', '-')} goes with --arch FILE.py:FUNCTION", "leave it out")
    spec, call = recipes.resolve(known, file.spec if file else None, own.text if own else None)
    if own is not None and spec.symmetry.name != "standard":
        _tell_what_stays(context, spec, own.text)
    return Request(spec, call["seeds"], call["save_every"], file, own)


def _file(path: str, parameters: Mapping[str, Any], seen: Seen) -> DataFile:
    from nid_cli.data.file import read

    key = canonical_json([path, dict(parameters)])
    if key not in seen.files:
        seen.files[key] = read(Path(path), parameters)
    return seen.files[key]


def _network(
    context: Context, arch: str, arguments: Mapping[str, Any], data: DataSpec, name: str, seen: Seen
) -> OwnNetwork:
    from nid_cli.pipeline.training.own import take

    key = canonical_json([arch, dict(arguments), data.flat(), name])
    if key not in seen.networks:
        seen.networks[key] = take(context, arch, arguments, data, name)
    return seen.networks[key]


def _tell_what_stays(context: Context, spec: RunSpec, description: str) -> None:
    """Matrices that no weighted layer reads, recurrent ones for example, keep the symmetries that they have."""
    graph = graph_of(spec, description)
    bound = {layer.weight for layer in graph.weighted}
    free = [name for name, shape in graph.parameters.items() if len(shape) > 1 and name not in bound]
    if free:
        share = 100 * sum(math.prod(graph.parameters[name]) for name in free) / graph.parameter_count
        shown = ", ".join(free[:4]) + (", ..." if len(free) > 4 else "")
        context.say(
            f"{spec.symmetry.name} acts on the {len(bound)} weighted layers alone; "
            f"{share:.0f} % of the parameters are trained freely in {shown}"
        )
