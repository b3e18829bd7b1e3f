"""A network as analyses and training see it: its calls, and what is derived from them.

No torch here: specifications are resolved and checked, and groups listed, without importing it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from nid_cli.errors import IntegrityError
from nid_cli.nets.calls import INPUT, Call, Shape
from nid_cli.nets.description import Description
from nid_cli.nets.functions import ATTENTION, DROPOUTS, RECURRENT
from nid_cli.nets.layers import Layer, layers_of
from nid_cli.nets.pointwise import Pointwise
from nid_cli.nets.rules import statistics
from nid_cli.nets.sites import SITES, Recording, recordings_of
from nid_cli.nets.sizes import numbers
from nid_cli.nets.spaces import Symmetries, derive

__all__ = ["BATCH_ENTRIES", "INPUT", "SITES", "Gate", "Graph", "Layer", "PermutationSpace", "Recording"]

# Numbers in the largest tensor of a batch that an analysis reads (float32: 16 MiB).
BATCH_ENTRIES = 2**22


@dataclass(frozen=True, kw_only=True)
class Gate:
    """A fixed gate of a sigma network, x * sigmoid(C x): its C (channels x channels) has entries of this ``sd``."""

    name: str
    channels: int
    sd: float

    @property
    def tensor(self) -> str:
        """The name of C."""
        return f"{self.name}.gate"


@dataclass(frozen=True)
class PermutationSpace:
    """Neurons that one permutation moves together: a hidden layer, a residual stream, the heads of an attention.

    ``name`` is that of the weighted call that opens it; ``label`` its name in records. With ``depends_on``, there is a
    permutation of it for each position of that other space (what is inside of each head). ``sites`` maps each recording
    site that it has to where it is recorded there (several: their samples pool).
    """

    name: str
    label: int | str
    size: int
    depends_on: str | None
    sites: Mapping[str, tuple[Recording, ...]]


class Graph:
    """A network: its description, with the gates that a symmetry type put into it, and the names its layers have."""

    def __init__(
        self,
        description: Description,
        gates: Iterable[Gate] = (),
        labels: Mapping[str, int | str] | None = None,
        space_labels: Mapping[str, int | str] | None = None,
        constants: Iterable[str] = (),
    ) -> None:
        """``labels``: what records call layers, and spaces, where not by their names.

        ``constants``: the buffers that come from the data set (a graph's adjacency), as gates come from the group.
        """
        self.description = description
        self.gates = tuple(gates)
        self.constants = frozenset(constants) | {gate.tensor for gate in self.gates}
        self._labels = labels or {}
        self._space_labels = self._labels if space_labels is None else space_labels

    def with_description(self, description: Description) -> Graph:
        """The same gates, labels and constants around another description."""
        return Graph(description, self.gates, self._labels, self._space_labels, self.constants)

    @property
    def calls(self) -> tuple[Call, ...]:
        """The calls in the order they run."""
        return self.description.calls

    @property
    def input_shape(self) -> tuple[int, ...]:
        """The shape of one sample."""
        return tuple(size for size in self.description.inputs[0].shape[1:] if isinstance(size, int))

    @property
    def output(self) -> str:
        """The call whose value is the network's."""
        return self.description.output

    @cached_property
    def outputs(self) -> int:
        """The number of network outputs (for each position, where there are many)."""
        size = self._shape(self.output)[-1]
        assert isinstance(size, int)
        return size

    @property
    def by_position(self) -> bool:
        """Whether it answers for each of many positions of a sample (tokens, nodes), not once."""
        return len(self._shape(self.output)) > 2

    def _shape(self, name: str) -> Shape:
        shape = self.description.by_name[name].shape
        assert shape is not None
        return shape  # type: ignore[return-value]

    @cached_property
    def weighted(self) -> tuple[Layer, ...]:
        """The layers with a weight matrix (n x d), the units that kappa, num_fixed, costs and coherence speak of."""
        return layers_of(self.description, self._labels)

    @cached_property
    def layers(self) -> dict[str, Layer]:
        """The weighted layers by name."""
        return {layer.name: layer for layer in self.weighted}

    @property
    def gated(self) -> bool:
        """Whether fixed gates (sigma) tie the neurons to their places: no permutation keeps the function."""
        return bool(self.gates)

    @cached_property
    def parameters(self) -> dict[str, tuple[int, ...]]:
        """Shapes of the parameters, frozen ones included."""
        return {name: _numbers(shape) for name, shape in self.description.parameters.items()}

    @cached_property
    def trained(self) -> tuple[str, ...]:
        """The names of those parameters that training moves."""
        return tuple(name for name in self.parameters if name not in self.description.frozen)

    @cached_property
    def buffers(self) -> dict[str, tuple[int, ...]]:
        """Shapes of the tensors that checkpoints hold beside the trained ones: running statistics, and constants of
        the network's own. What all models of a group share, ``constants``, is none of them."""
        buffers = self.description.buffers.items()
        return {name: _numbers(buffer.shape) for name, buffer in buffers if name not in self.constants}

    @cached_property
    def statistics(self) -> dict[str, tuple[str, str]]:
        """For each batch (or instance) norm the names of its running mean and variance."""
        found = {call.name: statistics(call) for call in self.calls}
        return {name: (own[0], own[1]) for name, own in found.items() if len(own) == 2}

    @cached_property
    def running(self) -> frozenset[str]:
        """The names of all running statistics; other buffers are constants."""
        return frozenset(name for pair in self.statistics.values() for name in pair)

    @cached_property
    def drops(self) -> bool:
        """Whether training draws what to leave out of its values."""
        return any(_drops(call) for call in self.calls)

    @cached_property
    def sizes(self) -> dict[str, int]:
        """How many numbers one sample is at the inputs and after each call."""
        shapes = {given.name: given.shape for given in self.description.inputs}
        return {name: numbers(shape) for name, shape in shapes.items()} | {
            call.name: numbers(call.shape) for call in self.calls
        }

    def batch(self, most: int, *kept: int) -> int:
        """How many samples make a batch, at most ``most``: memory grows neither with the data set nor with the images.

        No call's value fills more than ``BATCH_ENTRIES`` numbers, nor anything ``kept`` (numbers a sample, such as all
        recorded values together) more than four times as many.
        """
        widest = max(*self.sizes.values(), *(-(-size // 4) for size in kept))
        return max(1, min(most, BATCH_ENTRIES // widest))

    def rows_of(self, layer: Layer) -> int:
        """How many inputs the neurons of a layer see of one sample: every pixel's patch, every token."""
        return sum(self.sizes[use.call.name] // use.channels * use.groups for use in layer.uses)

    @cached_property
    def symmetries(self) -> Symmetries:
        """What may be permuted: derived from the calls.

        Raises:
            IntegrityError: it cannot be derived.
        """
        constant = self.description.buffers.keys() - self.running
        gates = {gate.tensor for gate in self.gates}
        try:
            derived = derive(
                self.calls,
                {**self.description.parameters, **{name: own.shape for name, own in self.description.buffers.items()}},
                {given.name: given.shape for given in self.description.inputs},
                self.output,
                fixed=gates,
                constant=constant - gates,
                tied=self.description.tied,
            )
        except (RecursionError, ValueError) as error:
            raise IntegrityError(f"the symmetries of the network cannot be derived: {str(error)[:120]}") from error
        return derived.without(self.description.pinned)

    @cached_property
    def spaces(self) -> tuple[PermutationSpace, ...]:
        """The permutation spaces in the order in which the network comes upon them, with their recording sites."""
        sites = recordings_of(self.calls, self.symmetries)
        return tuple(
            PermutationSpace(
                space.name,
                self._space_labels.get(space.name, space.label),
                space.size,
                space.depends_on,
                sites[space.name],
            )
            for space in self.symmetries.spaces
        )

    @cached_property
    def entry(self) -> Layer | None:
        """The first layer, where all of the input goes through it, and it is affine in its tensors; None elsewhere.

        What comes before it depends on the data alone, on constants of theirs too.
        """
        first = next((call for call in self.calls if not self.constants.issuperset(call.stored)), None)
        layer = next((layer for layer in self.weighted if layer.call is first), None)
        if first is None or layer is None or not set(first.stored) <= self.parameters.keys():
            return None
        before = self.calls[: self.calls.index(first)]
        inside = {INPUT, *(call.name for call in before)}
        later: Sequence[Call] = self.calls[len(before) + 1 :]
        read = {part for call in later for part in call.reads}
        return layer if not read & inside - self._numbers(before) else None

    @staticmethod
    def _numbers(calls: Iterable[Call]) -> set[str]:
        """Calls whose values are sizes."""
        return {call.name for call in calls if call.shape is None}

    @cached_property
    def _followed(self) -> dict[str, tuple[Call | None, Call | None]]:
        chains = Pointwise(self.calls)
        found = {}
        for layer in self.weighted:
            activation, end = chains.activation_after(layer.call)
            others = [chains.activation_after(use.call) for use in layer.again]
            if any(_same(activation) != _same(other) or stop for other, stop in others):
                activation, end = None, layer.again[-1].call
            if activation and any(math.prod(self.parameters.get(name, (2,))) > 1 for name in activation.stored):
                activation, end = None, activation  # a slope for each neuron
            found[layer.name] = activation, end
        return dict.fromkeys(found, (None, None)) if self.gated else found

    @cached_property
    def activation_after(self) -> dict[str, Call | None]:
        """For each weighted layer the activation that its neurons go through, after norms and sums; None if there is
        none, or if gates stand in its place."""
        return {name: activation for name, (activation, _) in self._followed.items()}

    @cached_property
    def not_followed(self) -> dict[str, Call]:
        """The weighted layers whose neurons go through what is no activation of one call, with the call in question."""
        return {name: end for name, (_, end) in self._followed.items() if end is not None}

    @property
    def parameter_count(self) -> int:
        """The number of scalars in all parameters, fixed and frozen ones included."""
        return sum(math.prod(shape) for shape in self.parameters.values())


def _numbers(shape: Shape) -> tuple[int, ...]:
    return tuple(size for size in shape if isinstance(size, int))


def _drops(call: Call) -> bool:
    """Whether a call leaves something out in training (recurrent layers may, between theirs)."""
    share = dict(call.kwargs).get("dropout_p") or (len(call.args) > 4 and call.args[4])
    return call.function in DROPOUTS | RECURRENT or (call.function == ATTENTION and bool(share))


def _same(call: Call | None) -> object:
    """Equal for calls that do the same."""
    return call and (call.function, call.args[1:], call.kwargs)
