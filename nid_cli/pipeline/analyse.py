"""What all analyses share: find what is known, compute the rest with models and data in memory, record each result."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any

from nid_cli import files
from nid_cli.errors import IntegrityError
from nid_cli.pipeline.context import Context
from nid_cli.pipeline.lineage import recording, writing_files
from nid_cli.recipes import graph_of
from nid_cli.registry import artifacts, groups, invocations, results
from nid_cli.registry.database import Registry
from nid_cli.registry.groups import Group
from nid_cli.registry.opening import open_for_writing
from nid_cli.registry.results import Subject
from nid_cli.registry.runs import Model

if TYPE_CHECKING:
    from torch import Tensor

    from nid_cli.data.tensors import Data
    from nid_cli.nets.functional import State
    from nid_cli.nets.symmetry import Constraint

# Models kept in memory between pairs take at most this many bytes (but two at least).
STATE_BYTES = 2**30

Values = Mapping[str, Any]
Computation = Callable[["Lab", Sequence[Subject]], Iterable[tuple[Subject, Values]]]


class Lab:
    """Models and data in memory, on the device, verified against the registry; nothing is read twice in a row."""

    def __init__(self, registry: Registry, context: Context) -> None:
        self.registry = registry
        self.context = context
        self.device = context.torch_device()
        self._states: dict[tuple[str | None, ...], State] = {}
        self._data: dict[str, Data] = {}
        self._fingerprints: dict[str, str] = {}
        self._agreed: set[int] = set()

    def _read(self, path: str, sha256: str) -> State:
        from nid_cli.nets.storage import from_bytes

        content = artifacts.read_verified(self.registry.file(path), sha256)
        return {name: tensor.to(self.device) for name, tensor in from_bytes(content).items()}

    def fixed(self, group: Group) -> State:
        """The fixed tensors of a group; empty for standard networks."""
        if group.fixed_path is None or group.fixed_sha256 is None:
            return {}
        return self._read(group.fixed_path, group.fixed_sha256)

    def _state(self, path: str, sha256: str, group: Group) -> State:
        """Effective weights and gates; the most recently used ones stay in memory."""
        from nid_cli.nets.functional import size_in_bytes
        from nid_cli.nets.symmetry import gates

        key = path, sha256, group.fixed_path
        state = self._states.pop(key, None)
        if state is None:
            state = self._read(path, sha256) | gates(self.fixed(group))
        self._states[key] = state
        while len(self._states) > max(2, STATE_BYTES // size_in_bytes(state)):
            del self._states[next(iter(self._states))]
        return state

    def constraint(self, group: Group) -> Constraint:
        """Pinned entries and anchors of a group's weights."""
        from nid_cli.nets.symmetry import SYMMETRY_TYPES, constraint

        kind = SYMMETRY_TYPES[group.settings["symmetry"]]
        return constraint(kind, graph_of(group.settings), self.fixed(group), group.settings["kappa"])

    def trainable(self, group: Group) -> dict[str, Tensor]:
        """Masks of the trained entries, for the weights of which a part is fixed."""
        import torch

        graph, masks = graph_of(group.settings), {}
        for name, (index, _) in self.constraint(group).pinned.items():
            mask = torch.ones(graph.parameters[name], dtype=torch.bool, device=self.device)
            mask.view(-1)[index] = False
            masks[name] = mask
        return masks

    def model(self, group: Group, model: Model, epoch: int) -> State:
        """A model's effective weights, buffers and gates at an epoch.

        Raises:
            IntegrityError: the file is not the one that was recorded.
        """
        checkpoint = model.checkpoints[epoch]
        state = self._state(checkpoint.path, checkpoint.sha256, group)
        expected = graph_of(group.settings).parameters
        if any(name not in state or tuple(state[name].shape) != shape for name, shape in expected.items()):
            raise IntegrityError(f"checkpoint {checkpoint.path} does not hold the network of {group.name}")
        return state

    def data(self, group: Group) -> Data:
        """The data set of a group, held against the fingerprint of its first use."""
        from nid_cli.data.load import load

        name, parameters = group.settings["dataset"], group.settings["data"]
        key = f"{name} {sorted(parameters.items())}"
        if key not in self._data:
            self.context.progress("reading data", 0, 1, name)
            self._data.clear()  # one data set in memory at a time
            data = load(name, parameters, self.context.data_folder)
            self._fingerprints[key] = data.fingerprint()
            self._data[key] = data.to(self.device)
            self.context.progress("reading data", 1, 1, name)
        if group.id not in self._agreed:
            with self.registry.write() as connection:
                groups.agree_on_data(connection, group, self._fingerprints[key])
            self._agreed.add(group.id)
        return self._data[key]

    def fingerprint(self, group: Group) -> str:
        """The fingerprint of the data that :meth:`data` gave."""
        name, parameters = group.settings["dataset"], group.settings["data"]
        return self._fingerprints[f"{name} {sorted(parameters.items())}"]


def in_batches(missing: Sequence[Subject]) -> list[list[Subject]]:
    """The subjects that are about the same models at the same epoch together, in order: they share passes over data."""
    return [list(batch) for _, batch in groupby(missing, key=lambda s: (s.of_group[0].id, s.epoch, s.models))]


def analyse(
    context: Context,
    command: str,
    subjects: Sequence[Subject],
    compute: Computation,
    *,
    force: bool = False,
    matrices: bool = False,
) -> list[dict[str, Any]]:
    """The records of ``subjects``, in their order; those not in the registry (or all, by ``force``) are computed.

    Each record is written as soon as it is computed, so that an interrupted analysis goes on where it stopped. Arrays
    among a record's values go to a file that its row points to.

    Args:
        matrices: put the arrays back into the records (they can be large).

    Raises:
        Interrupted: the user stopped it.
    """
    registry = open_for_writing(context.registry)
    keys = [subject.key for subject in subjects]
    with registry.read() as connection:
        known = set() if force else results.known(connection, keys)
    missing = [subject for subject in subjects if subject.key not in known]
    if missing:
        lab = Lab(registry, context)
        origin = invocations.describe(command, context.argv, str(lab.device))
        with recording(registry, "the results so far are kept") as call, writing_files(registry, context):
            with registry.write() as connection:
                invocation = call.begin(connection, origin)
            for subject, values in compute(lab, missing):
                _record(lab, subject, values, invocation)
    with registry.read() as connection:
        found = results.records(connection, keys)
    return [with_matrices(registry, record, matrices) for record in found]


def _record(lab: Lab, subject: Subject, values: Values, invocation: int) -> None:
    import numpy as np
    from safetensors.numpy import save

    arrays = {name: value for name, value in values.items() if isinstance(value, np.ndarray)}
    plain = {name: value for name, value in values.items() if name not in arrays}
    artifact = None
    if arrays:
        content = save(arrays)
        sha256 = files.sha256(content)
        # Named by its content too: computing again, or taking over another's, never overwrites what a row points to.
        path = f"results/{subject.key[:16]}-{sha256[:16]}.safetensors"
        artifact = path, files.write_atomic(lab.registry.file(path), content)
    fingerprint = lab.fingerprint(subject.group) if subject.group else None
    with lab.registry.write() as connection:
        results.record(
            connection, subject, plain, data_fingerprint=fingerprint, invocation_id=invocation, artifact=artifact
        )


def with_matrices(registry: Registry, record: dict[str, Any], matrices: bool) -> dict[str, Any]:
    """The record with its arrays in the place of their file, or without either."""
    if results.ARTIFACT not in record:
        return record
    path, sha256 = record.pop(results.ARTIFACT)
    if not matrices:
        return record
    from safetensors.numpy import load

    arrays = load(artifacts.read_verified(registry.file(path), sha256))
    lineage = record.pop("lineage")
    return record | dict(sorted(arrays.items())) | {"lineage": lineage}
