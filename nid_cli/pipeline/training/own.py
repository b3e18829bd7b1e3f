"""Networks of the user's own in training: their description, and what their code draws for each model."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nid_cli import files
from nid_cli.data.catalog import measures_of
from nid_cli.errors import NotFoundError, UsageError
from nid_cli.fitting import refuse_unfit
from nid_cli.pipeline.context import Context
from nid_cli.pipeline.training.recording import init_seed
from nid_cli.registry import artifacts, groups, runs
from nid_cli.registry.database import Registry
from nid_cli.registry.groups import Group
from nid_cli.specs import DataSpec, InputText, RunSpec

if TYPE_CHECKING:
    from nid_cli.nets.functional import State
    from nid_cli.pipeline.importing.networks import TakenIn

# Relative difference of two draws of the same seed that are taken to be the same: other processors round otherwise.
SAME_START = 1e-4


@dataclass(frozen=True)
class Code:
    """The function that makes the module, and the network that it became."""

    reference: str
    model_args: Mapping[str, Any]
    taken: TakenIn

    def draw(self, seed: int) -> State:
        """The parameters and buffers of a fresh module, drawn from ``seed``."""
        from nid_cli.pipeline.importing.models import build_module

        with _drawing_from(seed):
            module = build_module(self.reference, self.model_args)
        own = {name: tensor.detach() for name, tensor in [*module.named_parameters(), *module.named_buffers()]}
        state = {name: own.get(name, constant).to(constant.dtype) for name, constant in self.taken.state.items()}
        if strange := [name for name, tensor in state.items() if tensor.shape != self.taken.state[name].shape]:
            raise UsageError(f"{self.reference} gives {strange[0]} another shape each time that it is called")
        return state


@dataclass(frozen=True)
class OwnNetwork:
    """``text`` describes it; ``code`` is None where a group is trained on without the user's code."""

    arch: str
    text: str
    code: Code | None = None

    def prepare(self, registry: Registry, context: Context, spec: RunSpec, group: Group | None, seeds: int) -> None:
        """Has what each of members 1..``seeds`` starts from in its folder, where its training has not begun.

        Raises:
            NotFoundError: the code is needed, and not at hand.
            UsageError: the code draws otherwise than it did for the models that are there.
        """
        with registry.read() as connection:
            found = runs.find_run(connection, spec)
            members = runs.models_of(connection, run_id=found[0]) if found else []
        ended = {model.member for model in members if model.status in ("complete", "failed")}
        new = {}
        for member in set(range(1, seeds + 1)) - ended:
            folder = registry.file(runs.model_folder(spec.hash, member))
            begins = folder if spec.spawn_epoch is None else folder.parent / runs.TRUNK
            known = [place / name for place in {folder, begins} for name in (artifacts.RESUME, artifacts.START)]
            if all(files.read_sealed(path) is None for path in known):
                new[begins / artifacts.START] = init_seed(spec, member)
        if not new:
            return
        if self.code is None:
            raise NotFoundError(
                f"the code of {self.arch} draws what a new model starts from, and it is not in the registry",
                "nid train --arch FILE.py:FUNCTION, with the settings of the group, trains more models of it",
            )
        self._refuse_other_start(registry, self.code, spec, group)
        drawn = [(path, self.code.draw(seed)) for path, seed in new.items()]
        if len(drawn) > 1 and _alike([state for _, state in drawn]):
            context.say(f"all models start alike: {self.code.reference} gives the same tensors whatever the seed")
        for path, state in drawn:
            _write(path, state)

    def _refuse_other_start(self, registry: Registry, code: Code, spec: RunSpec, group: Group | None) -> None:
        """Two functions may make the same calls and draw otherwise: their models are no group."""
        from nid_cli.nets.storage import from_bytes
        from nid_cli.nets.symmetry import lay_over, rule_of

        if group is None:
            return
        with registry.read() as connection:
            members = runs.models_of(connection, group_id=group.id)
        known = next((m for m in members if m.init_seed is not None and 0 in m.checkpoints), None)
        if known is None:
            return
        assert known.init_seed is not None
        first = known.checkpoints[0]
        kept = from_bytes(artifacts.read_verified(registry.file(first.path), first.sha256))
        fixed: State = {}
        if group.fixed_path is not None and group.fixed_sha256 is not None:
            fixed = from_bytes(artifacts.read_verified(registry.file(group.fixed_path), group.fixed_sha256))
        drawn = lay_over(
            rule_of(spec.symmetry.name), group.graph, fixed, spec.symmetry.kappa, code.draw(known.init_seed)
        )
        for name in group.graph.parameters:
            difference = (kept[name].double() - drawn[name].double()).abs().max()
            if difference > SAME_START * kept[name].double().abs().max():
                raise UsageError(
                    f"{code.reference} computes what {group.name} computes, but starts from other values of {name}",
                    "--arch-name gives it a name of its own, and so its models a group",
                )


def take(context: Context, reference: str, model_args: Mapping[str, Any], data: DataSpec, arch: str) -> OwnNetwork:
    """Takes a network of the user's code in, for training on these data.

    Raises:
        NotFoundError, UsageError: it cannot be made, exported, or does not fit the data.
    """
    from nid_cli.pipeline.importing.networks import take_in

    groups.check_name(arch, "an architecture's")
    needed = measures_of(data)
    taken = take_in(reference, model_args, InputText(needed.shape, needed.vocabulary), context.say)
    refuse_unfit(taken.symmetric.graph, data)
    context.say(taken.symmetric.sentence(arch))
    return OwnNetwork(arch, taken.text, Code(reference, dict(model_args), taken))


def _write(path: Any, state: State) -> None:
    from nid_cli.nets.storage import to_bytes

    files.write_sealed(path, to_bytes(state))


def _alike(states: Sequence[State]) -> bool:
    first = states[0]
    return all(bool((state[name] == first[name]).all()) for state in states[1:] for name in first)


@contextmanager
def _drawing_from(seed: int) -> Iterator[None]:
    """Within it whatever a user's code may draw from is seeded, and goes on afterwards as if nothing had been."""
    import numpy as np
    import torch

    python, numpy = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        random.seed(seed)
        np.random.seed(seed % 2**32)
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)
