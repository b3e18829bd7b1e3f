"""State dictionaries of the user's own training become the models of a group."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nid_cli import files
from nid_cli.data.catalog import is_data_file, measures_of, resolve_parameters
from nid_cli.errors import UsageError
from nid_cli.fitting import refuse_unfit
from nid_cli.nets import Graph
from nid_cli.pipeline import datasets
from nid_cli.pipeline.context import Context
from nid_cli.pipeline.importing.checkpoints import fit, read_state, refuse_differing
from nid_cli.pipeline.lineage import recording, writing_files
from nid_cli.pipeline.removal import bring_back
from nid_cli.records.housekeeping import Registered
from nid_cli.registry import artifacts, groups, invocations, locks, runs
from nid_cli.registry.database import Registry
from nid_cli.registry.groups import Group
from nid_cli.registry.opening import open_for_reading, open_for_writing
from nid_cli.registry.runs import Checkpoint
from nid_cli.specs import (
    EXTERNAL,
    DataSpec,
    InputText,
    Measures,
    NetworkSpec,
    OptimizerSpec,
    RunSpec,
    SymmetrySpec,
    parse_input,
    stable_hash,
)

if TYPE_CHECKING:
    from sqlalchemy import Connection
    from torch import Tensor

    from nid_cli.data.file import DataFile

# The epoch of models of which only that they are trained is known.
TRAINED = 1


@dataclass(frozen=True, kw_only=True)
class Network:
    """The network that files are of: the user's code (``model`` with ``model_args``) on a data set.

    ``input``: what it reads, where the data set's shape does not say it. ``arch``: its name in records.
    """

    model: str
    dataset: str
    model_args: Mapping[str, Any] = field(default_factory=dict)
    data: Mapping[str, object] = field(default_factory=dict)
    input: str | None = None
    arch: str | None = None


@dataclass(frozen=True)
class _Target:
    """Where models go: the specification of their group, its network, and the constants of its code.

    ``name``: what the group is called where it is new and nobody names it.
    """

    spec: RunSpec
    graph: Graph
    constants: Mapping[str, Tensor]
    source: Mapping[str, Any]
    file: DataFile | None = None
    name: str | None = None


@dataclass(frozen=True)
class _Member:
    """One model as it will be written: its file's SHA-256, and content and source for each epoch."""

    path: Path
    sha256: str
    states: Mapping[int, tuple[bytes, str]]


def register_files(
    context: Context,
    paths: Sequence[Path],
    *,
    network: Network | None = None,
    group: str | None = None,
    init: Sequence[Path] = (),
    key: str | None = None,
    epoch: int = TRAINED,
    name: str | None = None,
) -> list[Registered]:
    """Makes files the models of a group, in their order; those that it has already stay as they are.

    Args:
        network: the user's code; or
        group: a group whose network is known already.
        init: the initialization of each file's model.
        key: of the state dictionary within each file.
        epoch: of the files.

    Raises:
        NotFoundError, UsageError: in one sentence what does not fit; the registry is as it was.
    """
    if name is not None:
        groups.check_name(name)
    if init and len(init) != len(paths):
        raise UsageError(
            f"there are {len(paths)} files but {len(init)} initializations",
            "give one --init FILE for each file, in the same order",
        )
    if epoch < (1 if init else 0):
        raise UsageError(f"epoch must be at least {1 if init else 0}, not {epoch}", "epoch 0 is the initialization")
    if twice := [path for at, path in enumerate(paths) if path in paths[:at]]:
        raise UsageError(f"{twice[0]} is given twice")
    target = _of_code(context, network) if network is not None else _of_group(context, str(group))
    if name is not None and group is not None and target.name is None:
        raise UsageError(f"the files join {group}, which has its name", "leave --name out, or nid group rename")
    members = list(_read(context, target, paths, init, key, epoch))
    refuse_differing(target.graph, _contents(members))
    if target.name is not None:
        context.say(f"{group} is a group of nid's own training: the files make a group of their own, of its network")
    registry = open_for_writing(context.registry, create=network is not None)
    with writing_files(registry, context), _alone(registry, context):
        return _write(context, registry, target, members, epoch, name)


def _alone(registry: Registry, context: Context) -> Any:
    return locks.hold(registry.file(locks.REGISTER), lambda holder: context.say(f"waiting: {holder} registers"))


def _of_code(context: Context, network: Network) -> _Target:
    from nid_cli.pipeline.importing.networks import take_in

    file, data = _data(network)
    needed = measures_of(data)
    taken = take_in(network.model, network.model_args, _input(network, data, needed), context.say)
    graph = taken.symmetric.graph
    refuse_unfit(graph, data)
    arch = network.arch or network.model.rpartition(":")[2]
    groups.check_name(arch, "an architecture's")
    context.say(taken.symmetric.sentence(arch))
    buffers = graph.description.buffers
    constants = {name: taken.state[name] for name, buffer in buffers.items() if not buffer.persistent}
    source = {"model": network.model, "model_args": dict(network.model_args)}
    return _Target(_spec(arch, graph, data), graph, constants, source, file)


def _data(network: Network) -> tuple[DataFile | None, DataSpec]:
    if not is_data_file(network.dataset):
        parameters = resolve_parameters(network.dataset, network.data)
        return None, DataSpec(name=network.dataset, parameters=parameters)
    from nid_cli.data.file import read
    from nid_cli.data.load import load_content

    file = read(Path(network.dataset), network.data)
    load_content(file.spec.name, file.spec.parameters, file.content)  # that each split has samples
    return file, file.spec


def _input(network: Network, data: DataSpec, needed: Measures) -> InputText:
    """What the network reads: one sample of the data set, as ``--input`` says it where it must be said."""
    if network.input is None:
        return InputText(needed.shape, needed.vocabulary)
    given = parse_input(network.input)
    if given.shape != needed.shape or (given.vocabulary is None) != (needed.vocabulary is None):
        shape = "x".join(map(str, needed.shape)) + (f":{needed.vocabulary}" if needed.vocabulary else "")
        raise UsageError(f"a sample of {data.name} is {shape}, not {network.input}", "leave --input out")
    if needed.vocabulary and given.vocabulary and given.vocabulary < needed.vocabulary:
        raise UsageError(f"{data.name} has whole numbers up to {needed.vocabulary - 1}, --input says less")
    return given


def _spec(arch: str, graph: Graph, data: DataSpec) -> RunSpec:
    return RunSpec(
        network=NetworkSpec(
            arch=arch, width=None, depth=None, norm=None, activation=None, graph=graph.description.hash
        ),
        data=data,
        symmetry=SymmetrySpec(name="standard", init="standard", kappa=None, num_fixed=None),
        optimizer=OptimizerSpec(name=EXTERNAL, lr=None, weight_decay=None, momentum=None, milestones=(), gamma=None),
        epochs=None,
        batch_size=None,
        seed=None,
    )


def _of_group(context: Context, name: str) -> _Target:
    """A group that is there already: no code of the user's is needed.

    Files join a group that was registered. What nid trained itself it trained by settings that files do not have: they
    make a group of their own, of plain networks like these (a merge, an aligned model).
    """
    from nid_cli.nets.bounds import check
    from nid_cli.nets.storage import from_bytes

    registry = open_for_reading(context.registry)
    with registry.read() as connection:
        group = groups.by_name(connection, name)
        members = runs.models_of(connection, group_id=group.id)
    if group.graph.gated or group.graph.constants:
        raise UsageError(
            f"networks of {name} compute with tensors beside their weights, which no file of a state dictionary has",
            "give --model and --dataset, and the files make a group of their own",
        )
    check(group.graph.description)
    wanted = [known for known, buffer in group.graph.description.buffers.items() if not buffer.persistent]
    constants: dict[str, Tensor] = {}
    if wanted:
        first = next(checkpoint for member in members for checkpoint in member.checkpoints.values())
        kept = from_bytes(artifacts.read_verified(registry.file(first.path), first.sha256))
        constants = {known: kept[known] for known in wanted}
    source = {"group": name}
    if group.spec.optimizer.name == EXTERNAL:
        return _Target(group.spec, group.graph, constants, source)
    graph = Graph(group.graph.description)
    spec = _spec(group.spec.network.arch, graph, group.spec.data)
    return _Target(spec, graph, constants, source, name=f"{name}-files")


def _read(
    context: Context, target: _Target, paths: Sequence[Path], init: Sequence[Path], key: str | None, epoch: int
) -> Any:
    from nid_cli.nets.storage import to_bytes

    def one(path: Path) -> tuple[bytes, str]:
        given, content = read_state(path, key)
        state = fit(target.graph.description, target.constants, given, path, context.say)
        return to_bytes(state), files.sha256(content)

    seen: dict[str, Path] = {}
    for at, path in enumerate(paths):
        context.progress("reading", at, len(paths), path.name)
        own = one(path)
        if (other := seen.setdefault(own[1], path)) != path:
            raise UsageError(f"{path} and {other} are the same file", "each model has a file of its own")
        states = {epoch: own}
        if init:
            states[0] = one(init[at])
        yield _Member(path, own[1], states)
    context.progress("reading", len(paths), len(paths), "")


def _contents(members: Sequence[_Member]) -> list[tuple[str, bytes]]:
    return [(str(member.path), content) for member in members for content, _ in member.states.values()]


def _kept(registry: Registry, key: str) -> list[tuple[str, bytes]]:
    """The first checkpoint of a group, where there is one."""
    with registry.read() as connection:
        group = groups.by_key(connection, key)
        models = runs.models_of(connection, group_id=group.id) if group is not None else []
    for model in models:
        for checkpoint in model.checkpoints.values():
            content = artifacts.read_verified(registry.file(checkpoint.path), checkpoint.sha256)
            return [(f"model {model.number}", content)]
    return []


def _write(
    context: Context, registry: Registry, target: _Target, members: Sequence[_Member], epoch: int, name: str | None
) -> list[Registered]:
    key = groups.group_key(target.spec, None)
    bring_back(registry, context, key, name)
    with registry.read() as connection:
        name = name or (target.name if groups.by_key(connection, key) is None else None)
    known = _known(registry, key, members, epoch)
    refuse_differing(target.graph, [*_kept(registry, key), *_contents(members)])
    if target.file is not None:
        datasets.keep(registry, target.file)
    origin = invocations.describe("register", context.argv)
    new = {member.sha256: _missing(member, known.get(member.sha256)) for member in members}
    written = {
        (member.sha256, at): _put(registry, key, member, at, epoch) for member in members for at in new[member.sha256]
    }
    with recording(registry, "nothing was registered") as call, registry.write() as connection:
        invocation = call.begin(connection, origin) if written else None
        group = groups.find_or_create(
            connection,
            spec=target.spec,
            fixed=None,
            data_fingerprint=None,
            name=name,
            description=target.graph.description.text,
        )
        found = []
        for member in members:
            model_id = known[member.sha256].id if member.sha256 in known else None
            if model_id is None:
                assert invocation is not None
                model_id = _add(connection, group, target, member, epoch, invocation)
            for at in new[member.sha256]:
                checkpoint, size, source = written[member.sha256, at]
                runs.record_checkpoint(connection, model_id, checkpoint, size, source)
            [model] = [own for own in runs.models_of(connection, group_id=group.id) if own.id == model_id]
            status = "imported" if new[member.sha256] else "known"
            epochs, fresh = sorted(model.checkpoints), len(new[member.sha256])
            found.append(Registered(str(member.path), status, group.name, [model.number], epochs, fresh))
    return found


def _known(registry: Registry, key: str, members: Sequence[_Member], epoch: int) -> dict[str, runs.Model]:
    """The models of the group that the files are, by the files' SHA-256."""
    with registry.read() as connection:
        group = groups.by_key(connection, key)
        if group is None:
            return {}
        sources = runs.sources_of(connection, group.id)
        models = {model.id: model for model in runs.models_of(connection, group_id=group.id)}
    found = {}
    for member in members:
        for model_id, at in sources.get(member.sha256, ()):
            if at == epoch:
                found[member.sha256] = models[model_id]
            elif at != 0:
                raise UsageError(
                    f"{member.path} is model {models[model_id].number} of {group.name} already, at epoch {at}",
                    f"--epoch {at}, or another file",
                )
    return found


def _missing(member: _Member, model: runs.Model | None) -> list[int]:
    """The epochs of a member that the registry does not have."""
    if model is None:
        return sorted(member.states)
    for at in member.states.keys() & model.checkpoints.keys():
        if model.checkpoints[at].sha256 != files.sha256(member.states[at][0]):
            raise UsageError(f"model {model.number} has another checkpoint of epoch {at} already")
    return sorted(member.states.keys() - model.checkpoints.keys())


def _run_hash(key: str, member: _Member, epoch: int) -> str:
    return stable_hash({"group": key, "file": member.sha256, "epoch": epoch})


def _put(registry: Registry, key: str, member: _Member, at: int, epoch: int) -> tuple[Checkpoint, int, str]:
    """Has a checkpoint on disk."""
    content, source = member.states[at]
    path = f"{runs.model_folder(_run_hash(key, member, epoch), 1)}/epoch-{at:06d}.safetensors"
    return Checkpoint(at, path, files.write_atomic(registry.file(path), content)), len(content), source


def _add(connection: Connection, group: Group, target: _Target, member: _Member, epoch: int, invocation: int) -> int:
    """A run and a model of their own for a file; returns the model's id."""
    source = {"path": str(member.path.absolute()), **target.source}
    run_hash = _run_hash(group.key, member, epoch)
    run_id = runs.find_or_create_run(connection, group.spec, run_hash, group.id, None, invocation, source)
    return runs.add_model(
        connection,
        group_id=group.id,
        run_id=run_id,
        member=1,
        invocation_id=invocation,
        status="complete",
        source_path=source["path"],
    )
