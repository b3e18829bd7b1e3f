"""Models and data in memory, as analyses need them: read once, and kept while they are likely to be asked for again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from nid_cli.errors import IntegrityError
from nid_cli.pipeline.context import Context, Progress, silent
from nid_cli.pipeline.datasets import load_data
from nid_cli.registry import artifacts, groups
from nid_cli.registry.database import Registry
from nid_cli.registry.groups import Group
from nid_cli.registry.runs import Model
from nid_cli.specs import canonical_json

if TYPE_CHECKING:
    from torch import Tensor

    from nid_cli.data.tensors import Data
    from nid_cli.nets.functional import State
    from nid_cli.nets.symmetry import Constraint

# Models kept in memory between pairs take at most this many bytes (but two at least).
STATE_BYTES = 2**30


class Stock(Protocol):
    """Where a lab has its files and data from."""

    def content(self, path: str, sha256: str) -> bytes:
        """One file, verified."""

    def data(self, group: Group) -> Data:
        """The data set of a group, held against the fingerprint of its first use."""


class RegistryStock:
    """Files and data of a registry and its machine, verified; one data set in memory at a time."""

    def __init__(self, registry: Registry, context: Context) -> None:
        self.registry, self.context = registry, context
        self._data: tuple[str, Data] | None = None
        self._fingerprints: dict[str, str] = {}
        self._agreed: set[int] = set()

    def content(self, path: str, sha256: str) -> bytes:
        """One file.

        Raises:
            IntegrityError: it is not the one that was recorded.
        """
        return artifacts.read_verified(self.registry.file(path), sha256)

    def data(self, group: Group) -> Data:
        """The data set of a group.

        Raises:
            NotFoundError, IntegrityError: its files are not there, or not those of its first use.
        """
        name, key = group.spec.data.name, data_key(group)
        if self._data is None or self._data[0] != key:
            self.context.progress("reading data", 0, 1, name)
            self._data = None  # let go of before the next is read
            self._data = key, load_data(self.registry, self.context, group.spec.data)
            self._fingerprints[key] = self._data[1].fingerprint()
            self.context.progress("reading data", 1, 1, name)
        if group.id not in self._agreed:
            with self.registry.write() as connection:
                groups.agree_on_data(connection, group, self._fingerprints[key])
            self._agreed.add(group.id)
        return self._data[1]

    def fingerprint(self, group: Group) -> str:
        """The fingerprint of the data that :meth:`data` gave."""
        return self._fingerprints[data_key(group)]


class Lab:
    """Models and data in memory, on ``device`` (``torch.device``); nothing is read twice in a row."""

    def __init__(self, stock: Stock, device: Any, progress: Progress = silent) -> None:
        self.stock, self.device, self.progress = stock, device, progress
        self._states: dict[tuple[str | None, ...], State] = {}
        self._shared: tuple[str | None, State] | None = None
        self._data: tuple[str, Data] | None = None
        self._checked: set[int] = set()

    def _read(self, path: str, sha256: str) -> State:
        from nid_cli.nets.storage import from_bytes

        content = self.stock.content(path, sha256)
        return {name: tensor.to(self.device) for name, tensor in from_bytes(content).items()}

    def fixed(self, group: Group) -> State:
        """The fixed tensors of a group; empty for standard networks."""
        if group.fixed_path is None or group.fixed_sha256 is None:
            return {}
        return self._read(group.fixed_path, group.fixed_sha256)

    def _constants(self, group: Group) -> State:
        """What forward passes need of a group's fixed tensors, in memory once for all of its models."""
        from nid_cli.nets.symmetry import constants_of

        if not group.graph.constants:
            return {}
        if self._shared is None or self._shared[0] != group.fixed_path:
            self._shared = group.fixed_path, constants_of(group.graph, self.fixed(group))
        return self._shared[1]

    def _state(self, path: str, sha256: str, group: Group) -> State:
        """Effective weights and constants; the most recently used ones stay in memory."""
        from nid_cli.nets.functional import size_in_bytes

        key = path, sha256, group.fixed_path
        state = self._states.pop(key, None)
        if state is None:
            state = self._read(path, sha256) | self._constants(group)
        self._states[key] = state
        while len(self._states) > max(2, STATE_BYTES // size_in_bytes(state)):
            del self._states[next(iter(self._states))]
        return state

    def constraint(self, group: Group) -> Constraint:
        """Pinned entries and anchors of a group's weights."""
        from nid_cli.nets.symmetry import constraint, rule_of

        symmetry = group.spec.symmetry
        return constraint(rule_of(symmetry.name), group.graph, self.fixed(group), symmetry.kappa)

    def trainable(self, group: Group) -> dict[str, Tensor]:
        """Masks of the trained entries, for the weights of which a part is fixed."""
        import torch

        masks = {}
        for name, (index, _) in self.constraint(group).pinned.items():
            mask = torch.ones(group.graph.parameters[name], dtype=torch.bool, device=self.device)
            mask.view(-1)[index] = False
            masks[name] = mask
        return masks

    def model(self, group: Group, model: Model, epoch: int) -> State:
        """A model's effective weights, buffers and constants at an epoch.

        Raises:
            IntegrityError: the file is not the one that was recorded.
        """
        self._check(group)
        checkpoint = model.checkpoints[epoch]
        state = self._state(checkpoint.path, checkpoint.sha256, group)
        expected = {name: (shape, "float32") for name, shape in group.graph.parameters.items()}
        if group.spec.network.graph is not None:
            buffers = group.graph.description.buffers
            expected |= {name: (shape, buffers[name].dtype) for name, shape in group.graph.buffers.items()}
        held = {name: (tuple(own.shape), str(own.dtype).removeprefix("torch.")) for name, own in state.items()}
        if any(held.get(name) != wanted for name, wanted in expected.items()):
            raise IntegrityError(f"checkpoint {checkpoint.path} does not hold the network of {group.name}")
        return state

    def _check(self, group: Group) -> None:
        """Holds a network that was taken in against what its description says, once, before it runs."""
        from nid_cli.nets.bounds import check

        if group.spec.network.graph is not None and group.id not in self._checked:
            check(group.graph.description)
            self._checked.add(group.id)

    def data(self, group: Group) -> Data:
        """The data set of a group, on the device."""
        key = data_key(group)
        own = self.stock.data(group)  # which holds each group against its fingerprint
        if self._data is None or self._data[0] != key:
            self._data = key, own.to(self.device)
        return self._data[1]


def lab_of(registry: Registry, context: Context) -> Lab:
    """The lab of a command, on this machine."""
    return Lab(RegistryStock(registry, context), context.torch_device(), context.progress)


def data_key(group: Group) -> str:
    """The data set of a group as a text."""
    return canonical_json(group.spec.data.flat())
