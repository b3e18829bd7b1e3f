"""What neurons go through place by place: chains of calls whose numbers come from numbers at the same place. No torch.

An activation may be one call, or written out: x * sigmoid(x), x/2 * (1 + tanh(c (x + a x**3))). All calls of such a
chain have one *origin*, the value that it is a function of; the activation is what other calls read of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property

from nid_cli.nets.calls import Call
from nid_cli.nets.rules import layout, row_of, spatial
from nid_cli.nets.rules.row import overloads

SUMS = ("add.Tensor", "sub.Tensor")
# Activations, beside those that mark a hidden layer: gates are theirs too.
OPENINGS = ("sigmoid.default", "hardsigmoid.default")
# A number times its neuron's, plus what does not depend on it.
AFFINE = {
    *overloads("clone contiguous _to_copy alias detach lift_fresh_copy positive neg dropout feature_dropout"),
    *overloads("alpha_dropout feature_alpha_dropout"),
    *(f"{name}.{kind}" for name in ("add", "sub", "rsub", "mul", "div") for kind in ("Tensor", "Scalar")),
    *("to.dtype", "to.dtype_layout", "to.device", "masked_fill.Scalar", "where.self", "where.ScalarOther"),
}
# What moves numbers, or takes one of each few pixels, and leaves them what they are.
MOVES = (layout.ROWS.keys() | spatial.ROWS.keys()) - {f"{name}.default" for name in ("cat", "concat", "concatenate")}
PARTS = ("split.Tensor", "split.sizes", "split_with_sizes.default", "chunk.default", "unbind.int", "slice.Tensor")


class Pointwise:
    """The chains of a network."""

    def __init__(self, calls: Iterable[Call]) -> None:
        self.by_name = {call.name: call for call in calls}

    @cached_property
    def readers(self) -> Mapping[str, list[Call]]:
        """The calls that read a value, sizes aside."""
        found: dict[str, list[Call]] = {}
        for call in self.by_name.values():
            for name in call.reads if call.shape is not None else ():
                found.setdefault(name, []).append(call)
        return found

    @cached_property
    def origins(self) -> Mapping[str, str]:
        """For each call the value that it is a function of, place by place; its own where that is none other."""
        found: dict[str, str] = {}
        for call in self.by_name.values():
            row = row_of(call)
            read = {found.get(name, name) for name in self._values(call)}
            alone = len(read) == 1 and (row.pure or row.role == "activation")
            found[call.name] = read.pop() if alone else call.name
        return found

    def _values(self, call: Call) -> Iterator[str]:
        """What a call reads, sizes aside."""
        return (name for name in call.reads if name not in self.by_name or self.by_name[name].shape is not None)

    def joins(self, call: Call) -> bool:
        """Whether it joins several values of one origin: x and sigmoid(x)."""
        return len(list(self._values(call))) > 1 and self.origins[call.name] != call.name

    @cached_property
    def joined(self) -> Mapping[str, Call]:
        """For each origin of which several values are joined, the first call that does."""
        found: dict[str, Call] = {}
        for call in self.by_name.values():
            if self.joins(call):
                found.setdefault(self.origins[call.name], call)
        return found

    def read_on(self, call: Call, seen: set[str]) -> Iterator[Call]:
        """What is read of the chain that goes on from ``call``: itself, if by any call outside of it.

        Args:
            seen: calls that earlier walks came through, which this one leaves out and adds to.
        """
        waiting = [call] if call.name not in seen else []
        seen.add(call.name)
        while waiting:
            own = waiting.pop()
            after = self.readers.get(own.name, [])
            if not after or any(self.origins[other.name] != self.origins[call.name] for other in after):
                yield own
                continue
            waiting += [other for other in after if other.name not in seen]
            seen |= {other.name for other in after}

    def activation_after(self, call: Call) -> tuple[Call | None, Call | None]:
        """The activation that a layer's neurons go through after norms, sums, pooling and views; None is the identity.

        Returns:
            it, and the call at which the way ends because it is no activation of one call; one of them is None.
        """
        while True:
            after = self.readers.get(call.name, [])
            if len(after) != 1:
                return self._of_several(call, after)
            before, [call] = call, after
            row = row_of(call)
            if row.role == "activation" or call.function in OPENINGS:
                return call, None
            if call.function in PARTS:
                return self._of_several(before, after)
            if row.role == "norm" or call.function in AFFINE or call.function in MOVES:
                continue
            if call.function == "getitem" and before.function in spatial.ROWS:
                continue
            return None, call if row.pure or call.function == "glu.default" else None

    def _of_several(self, call: Call, after: list[Call]) -> tuple[None, Call | None]:
        """Several calls read it: a residual stream, what is taken apart, or an activation that is written out."""
        origin = self.origins.get(call.name, call.name)
        if origin in self.joined:
            return None, self.joined[origin]
        if after and all(other.function in PARTS for other in after):
            for part in after:
                of_it = self.readers.get(part.name, []) if part.function != "slice.Tensor" else [part]
                if any(any(self.activation_after(one)) for one in of_it):
                    return None, part
        return None, None
