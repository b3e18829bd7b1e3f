"""What a training is asked: settings as they are written, resolved with the files and the code that they name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nid_cli import recipes
from nid_cli.data.catalog import is_data_file, measures_of
from nid_cli.errors import UsageError
from nid_cli.pipeline.context import Context
from nid_cli.pipeline.importing.models import is_model
from nid_cli.pipeline.training.own import OwnNetwork, take
from nid_cli.recipes.tables import SAVE_EVERY
from nid_cli.registry import groups, runs
from nid_cli.registry.opening import open_for_reading
from nid_cli.specs import InputText, RunSpec

if TYPE_CHECKING:
    from nid_cli.data.file import DataFile

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

    def settings(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """All settings, as they can be written into a configuration file; ``given`` names files and code."""
        values = self.spec.to_dict() | {"seeds": self.seeds, "save_every": self.save_every}
        resolved = {name: value for name, value in values.items() if name in recipes.KNOWN and value is not None}
        named = [name for name, is_own in (("dataset", self.file), ("arch", self.own)) if is_own]
        return resolved | {name: given[name] for name in (*named, *OF_CODE) if name in given}


def requested(context: Context, settings: Mapping[str, Any]) -> Request:
    """Resolves settings; a network of the user's own is made and taken in.

    Args:
        settings: any of ``recipes.KNOWN`` and ``OF_CODE``; ``dataset`` may be a file, ``arch`` a MODEL.

    Raises:
        NotFoundError, UsageError: what they name is not there, or they make no training.
    """
    known = {name: value for name, value in settings.items() if name not in OF_CODE}
    named, arch = str(known.get("dataset", "")), str(known.get("arch", ""))
    file = None
    if is_data_file(named):
        from nid_cli.data.file import read

        file = read(Path(named), known.get("data", {}))
    own = None
    if is_model(arch):
        data = recipes.data_of(known, file.spec if file else None)
        needed = measures_of(data)
        known["arch"] = name = groups.check_name(
            str(settings.get("arch_name", arch.rpartition(":")[2])), "an architecture's"
        )
        arguments = settings.get("model_arg", {})
        if not isinstance(arguments, Mapping):
            raise UsageError("model_arg must be a table of arguments")
        own = take(context, arch, arguments, data, InputText(needed.shape, needed.vocabulary), name)
    elif surplus := [name for name in OF_CODE if name in settings]:
        raise UsageError(f"--{surplus[0].replace('_', '-')} goes with --arch FILE.py:FUNCTION", "leave it out")
    spec, call = recipes.resolve(known, file.spec if file else None, own.text if own else None)
    return Request(spec, call["seeds"], call["save_every"], file, own)


def going_on(context: Context, name: str, seeds: int | None, save_every: int | None) -> list[Request]:
    """The trainings of a group that is there, as its registry knows them: no code or file of the user's is needed.

    Args:
        seeds: how many members its run is to have; as many as it has where it is None.

    Raises:
        NotFoundError: no such group.
        UsageError: it was not trained here, or has several runs and ``seeds`` does not say of which.
    """
    registry = open_for_reading(context.registry)
    with registry.read() as connection:
        group = groups.by_name(connection, name)
        found = runs.trained_here(connection, group.id)
    if not found:
        raise UsageError(f"the models of {name} were not trained here: there is nothing to go on with")
    if seeds is not None and len(found) > 1:
        bases = ", ".join(str(spec.seed) for spec, _ in found)
        raise UsageError(f"{name} has several runs (--seed {bases})", "give their settings instead of --group")
    own = OwnNetwork(group.arch, group.architecture) if group.spec.network.graph is not None else None
    return [Request(spec, seeds or members, save_every or SAVE_EVERY, own=own) for spec, members in found]
