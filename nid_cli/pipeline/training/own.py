"""Networks of the user's own in training: their description, and the code that draws new models."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nid_cli.data.catalog import measures_of
from nid_cli.errors import UsageError
from nid_cli.fitting import refuse_unfit
from nid_cli.nets import ARCHITECTURES
from nid_cli.pipeline.context import Context
from nid_cli.registry import groups
from nid_cli.specs import DataSpec, InputText

if TYPE_CHECKING:
    from torch import nn

    from nid_cli.nets.description import Description
    from nid_cli.nets.functional import State
    from nid_cli.pipeline.importing.networks import TakenIn


@dataclass(frozen=True)
class Code:
    """The function that makes the module, and the network that it became."""

    reference: str
    model_args: Mapping[str, Any]
    taken: TakenIn

    @property
    def description(self) -> Description:
        """The network."""
        return self.taken.symmetric.graph.description

    def build(self) -> nn.Module:
        """A fresh module."""
        from torch.nn.parameter import is_lazy

        from nid_cli.nets.example import example
        from nid_cli.pipeline.importing.models import build_module

        module = build_module(self.reference, self.model_args)
        if any(is_lazy(tensor) for tensor in [*module.parameters(), *module.buffers()]):
            module(*example(self.description.inputs))  # lazy parameters are drawn when they see a sample
        return module

    def draw(self, seed: int) -> State:
        """The parameters and buffers of a fresh module, drawn from ``seed``."""
        with _drawing_from(seed):
            module = self.build()
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


def take(context: Context, reference: str, model_args: Mapping[str, Any], data: DataSpec, arch: str) -> OwnNetwork:
    """Takes a network of the user's code in, for training on these data.

    Raises:
        NotFoundError, UsageError: it cannot be made, exported, or does not fit the data.
    """
    from nid_cli.pipeline.importing.networks import take_in

    groups.check_name(arch, "an architecture's")
    if arch in ARCHITECTURES:
        raise UsageError(f"{arch} is the name of an architecture of nid", "--arch-name gives yours another")
    needed = measures_of(data)
    taken = take_in(reference, model_args, InputText(needed.shape, needed.vocabulary), context.say)
    refuse_unfit(taken.symmetric.graph, data)
    code = Code(reference, dict(model_args), taken)
    _refuse_other_gradients(code)
    context.say(taken.symmetric.sentence(arch))
    return OwnNetwork(arch, taken.text, code)


def _refuse_other_gradients(code: Code) -> None:
    """What a network learns must be what its module would.

    Raises:
        UsageError: it is not, or torch cannot go back through the module.
    """
    from nid_cli.nets.agreement import differing_gradient
    from nid_cli.nets.example import example
    from nid_cli.nets.trial import only_tensor

    module, described = code.build(), code.description
    module.register_forward_hook(lambda _module, _inputs, output: only_tensor(output))
    try:
        name = differing_gradient(module, described, code.taken.state, example(described.inputs))
    except RuntimeError as error:
        raise UsageError(
            f"the network has no gradients to train it by; torch says: {str(error).splitlines()[0]}",
            "an operation in place may overwrite what the backward pass needs: x = x * 2 in the place of x.mul_(2)",
        ) from error
    if name is not None:
        raise UsageError(
            f"{name} does not learn in the network what it learns as a list of calls: its gradient differs",
            "detach and no_grad leave no trace in calls; requires_grad_(False) freezes a layer",
        )


@contextmanager
def _drawing_from(seed: int) -> Iterator[None]:
    """Within it whatever a user's code may draw from is seeded: Python's, numpy's and torch's global generators.

    Afterwards those of the CPU go on as if nothing had been. The generators of CUDA devices are seeded as well, and
    stay so: to save their states would begin CUDA in this process, and nothing here draws from them.
    """
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
