"""What models of a user's own network start from: drawn by his code, each in the folder of its model or trunk.

All is checked before anything is written. A start counts once its model has a row: what lies there without one was
left by a command that was cut off, whose code may have been another, and is drawn anew.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from nid_cli import files
from nid_cli.errors import NotFoundError, UsageError
from nid_cli.pipeline.context import Context
from nid_cli.pipeline.training import trunk
from nid_cli.pipeline.training.own import Code, OwnNetwork
from nid_cli.pipeline.training.recording import init_seed
from nid_cli.registry import artifacts, groups, runs
from nid_cli.registry.database import Registry
from nid_cli.registry.groups import Group
from nid_cli.registry.runs import Model
from nid_cli.specs import RunSpec

if TYPE_CHECKING:
    from torch import Tensor

    from nid_cli.nets.functional import State
    from nid_cli.nets.graph import Graph

# Relative difference of two draws of the same seed that are taken to be the same: other processors round otherwise.
SAME_START = 1e-4


def refuse_other_code(
    registry: Registry | None, own: OwnNetwork, graph: Graph, spec: RunSpec, key: str, seeds: int
) -> None:
    """Holds the code against what members 1..``seeds`` need of it, and against the group's models. Writes nothing.

    Args:
        registry: None where there is none yet.
        key: the identity of the group, which may not be there.

    Raises:
        NotFoundError: the code is needed, and not at hand.
        UsageError: it draws without the seed, or draws otherwise than it did for the models that are there.
    """
    lacking = _lacking(registry, spec, seeds)
    if not lacking:
        return
    code, seed = _needed(own), init_seed(spec, lacking[0])
    first = code.draw(seed)
    if changed := _differing(first, code.draw(seed), first, 0.0):
        raise UsageError(
            f"{code.reference} draws other values of {changed} each time from the same seed",
            "take randomness from the global generators of torch, numpy or Python (torch.randn, np.random.randn)",
        )
    constants = graph.buffers.keys() - graph.running
    if changed := _differing(first, code.draw(seed + 1), constants, 0.0):
        raise UsageError(
            f"{changed} is a constant of the network, but another one in each model",
            "draw it in the code from a generator of its own: generator=torch.Generator().manual_seed(0)",
        )
    if registry is None:
        return
    with registry.read() as connection:
        group = groups.by_key(connection, key)
    if group is not None:
        _refuse_other_start(registry, code, spec, group, lacking)


def lay(registry: Registry, context: Context, own: OwnNetwork, spec: RunSpec, seeds: int) -> None:
    """Draws and writes what those of members 1..``seeds`` start from that lack it. The caller holds the run's lock."""
    from nid_cli.nets.storage import to_bytes

    drawn: dict[int, str] = {}
    for member in _lacking(registry, spec, seeds):
        if (seed := init_seed(spec, member)) in drawn:  # copies share their trunk's
            continue
        content = to_bytes(_needed(own).draw(seed))
        files.write_sealed(_begins(registry, spec, member) / artifacts.START, content)
        drawn[seed] = files.sha256(content)
    if len(drawn) > 1 and len({*drawn.values()}) == 1:
        context.say(f"all models start alike: {_needed(own).reference} gives the same tensors whatever the seed")


def _needed(own: OwnNetwork) -> Code:
    if own.code is None:
        raise NotFoundError(
            f"the code of {own.arch} draws what a new model starts from, and it is not in the registry",
            "nid train --arch FILE.py:FUNCTION, with the settings of the group, trains more models of it",
        )
    return own.code


def _lacking(registry: Registry | None, spec: RunSpec, seeds: int) -> list[int]:
    """Those of members 1..``seeds`` that neither ended nor have what their training begins or goes on with."""
    wanted = range(1, seeds + 1)
    if registry is None:
        return list(wanted)
    with registry.read() as connection:
        found = runs.find_run(connection, spec)
        members = {m.member: m for m in runs.models_of(connection, run_id=found[0])} if found else {}
    return [member for member in wanted if not _can_go_on(registry, spec, member, members)]


def _can_go_on(registry: Registry, spec: RunSpec, member: int, members: dict[int, Model]) -> bool:
    from nid_cli.pipeline.training.keeping import where_cut_off

    if member in members:
        if members[member].status in ("complete", "failed"):
            return True
        if where_cut_off(registry.file(runs.model_folder(spec.hash, member))) is not None:
            return True
    begins = _begins(registry, spec, member)
    if spec.spawn_epoch is None:
        return member in members and files.read_sealed(begins / artifacts.START) is not None
    return bool(members) and (files.read_sealed(begins / artifacts.START) is not None or trunk.is_whole(begins))


def _begins(registry: Registry, spec: RunSpec, member: int) -> Path:
    """The folder of the training that draws: the member's own, or the trunk's of all copies."""
    folder = registry.file(runs.model_folder(spec.hash, member))
    return folder if spec.spawn_epoch is None else folder.parent / runs.TRUNK


def _refuse_other_start(registry: Registry, code: Code, spec: RunSpec, group: Group, lacking: list[int]) -> None:
    """Two functions may make the same calls and draw otherwise: their models are no group.

    Args:
        lacking: members of the run ``spec`` that begin again with this code, whatever they began with.
    """
    from nid_cli.nets.storage import from_bytes
    from nid_cli.nets.symmetry import lay_over, rule_of

    graph, rule = group.graph, rule_of(spec.symmetry.name)
    fixed: State = {}
    if group.fixed_path is not None and group.fixed_sha256 is not None:
        fixed = from_bytes(artifacts.read_verified(registry.file(group.fixed_path), group.fixed_sha256))
    with registry.read() as connection:
        members = [m for m in runs.models_of(connection, group_id=group.id) if m.init_seed is not None]
        hashes = {m.run_id: runs.run_hash(connection, m.run_id) for m in members}
    for member in members:
        if hashes[member.run_id] == spec.hash and member.member in lacking:
            continue
        begins = registry.file(runs.model_folder(hashes[member.run_id], member.member))
        if spec.spawn_epoch is not None:
            begins = begins.parent / runs.TRUNK
        if first := member.checkpoints.get(0):
            kept = from_bytes(artifacts.read_verified(registry.file(first.path), first.sha256))
        elif (start := files.read_sealed(begins / artifacts.START)) is not None:
            kept = lay_over(rule, graph, fixed, spec.symmetry.kappa, from_bytes(start))
        else:
            continue
        assert member.init_seed is not None
        drawn = lay_over(rule, graph, fixed, spec.symmetry.kappa, code.draw(member.init_seed))
        shared = [*graph.parameters, *sorted(graph.buffers.keys() - graph.running)]
        if changed := _differing(kept, drawn, [name for name in shared if name in kept], SAME_START):
            raise UsageError(
                f"{code.reference} computes what {group.name} computes, but starts from other values of {changed}",
                "--arch-name gives it a name of its own, and so its models a group",
            )
        return  # what one of them says of the code, all say


def _differing(one: State, other: State, names: Iterable[str], tolerance: float) -> str | None:
    """The first of ``names`` where the states differ by more than ``tolerance`` times its greatest finite number."""
    return next((name for name in names if not _close(one[name].double(), other[name].double(), tolerance)), None)


def _close(one: Tensor, other: Tensor, tolerance: float) -> bool:
    finite = one[one.isfinite()].abs()
    most = tolerance * float(finite.max()) if finite.numel() else 0.0
    return bool(one.isclose(other, rtol=0.0, atol=most, equal_nan=True).all())
