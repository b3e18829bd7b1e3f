"""The graph that ``torch.export`` traces, as calls of pure functions.

The traced graph still changes values in place. Each tensor of the trace knows its storage, so a change is followed
exactly: the pure function's value takes the place of every name of the same numbers (same storage, same geometry).
Where a name of *other* geometry (a view) is read afterwards, ``Entangled`` asks for torch's own functionalization,
which knows views but traces everything again. Names of equal numbers are one value: detach, clone and the like vanish.
"""

from __future__ import annotations

import itertools
import operator
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, fx

from nid_cli.errors import UsageError
from nid_cli.nets.calls import Argument, Call, Named, Stored, Value
from nid_cli.nets.fakes import LEGACY_BATCH_NORM, geometry, size_of, values_of
from nid_cli.nets.functions import DROPOUTS, FUNCTIONS, PICK, STATISTICS, WEIGHTED

# Values are immutable here, and their memory's layout is no part of them.
_SAME = {"clone", "contiguous", "detach", "alias", "lift_fresh", "lift_fresh_copy", "lift", "view_copy", "positive"}
_CASTS = {"to", "_to_copy", "type_as", "float", "double", "half"}
_RESHAPES = {"view": "reshape", "_unsafe_view": "reshape", "view_as": "reshape_as"}
_WRITES = {"fill_": "full_like", "zero_": "zeros_like"}
_UNSAID = {"device", "layout", "pin_memory", "non_blocking", "copy"}


class Entangled(Exception):
    """A value is changed in place while a view of it is read later."""


@dataclass
class Conversion:
    """One walk over a traced graph; ``names`` maps placeholders to what they stand for (Value or Stored).

    ``tied`` maps a tensor's further names to the first: each call is named by that which its own module has for it.
    """

    names: Mapping[str, Argument]
    tied: Mapping[str, str] = field(default_factory=dict)
    calls: list[Call] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._value: dict[fx.Node, Any] = {}
        self._by_storage: dict[int, list[fx.Node]] = defaultdict(list)
        self._count: Counter[str] = Counter()
        self._taken = {part.name for part in self.names.values() if isinstance(part, Value)}
        self._module = ""
        self._reserved = {_path(part.name) for part in self.names.values() if isinstance(part, Stored)}
        self._sizes: dict[int, Value] = {}
        self._changed: set[str] = set()

    def walk(self, graph: fx.Graph, given: Mapping[fx.Node, Any] | None = None) -> tuple[Any, ...]:
        """Appends the calls of ``graph``; the values of its outputs.

        Args:
            given: what the placeholders of an inner graph stand for.
        """
        nodes = list(graph.nodes)
        position = {node: place for place, node in enumerate(nodes)}
        last = {node: max((position[user] for user in node.users), default=-1) for node in nodes}
        outputs: tuple[Any, ...] = ()
        for place, node in enumerate(nodes):
            if node.op == "placeholder":
                self._value[node] = given[node] if given is not None else self.names.get(node.name)
            elif node.op == "get_attr":
                self._value[node] = getattr(graph.owning_module, str(node.target))
            elif node.op == "output":
                outputs = tuple(self._argument(part) for part in node.args[0])
            elif node.op == "call_function":
                self._call(node, lambda other, place=place: last[other] > place)
            if isinstance(known := node.meta.get("val"), Tensor):
                self._by_storage[known.untyped_storage()._cdata].append(node)
        return outputs

    def changed(self, calls: list[Call]) -> str | None:
        """A stored tensor that the network changes in evaluation and then reads, if any."""
        read = {name for call in calls for name in call.stored}
        return min(read & self._changed, default=None)

    def _call(self, node: fx.Node, read_later: Any) -> None:
        target: Any = node.target
        known = node.meta.get("val")
        self._module = next((path for path, _ in reversed((node.meta.get("nn_module_stack") or {}).values())), "")
        if target is operator.getitem:
            self._value[node] = self._pick(node)
        elif isinstance(known, torch.SymInt | torch.SymFloat | torch.SymBool | int | float | bool):
            self._value[node] = known
        elif "wrap_with" in str(target):
            # A region without gradients (or with them): its calls are calls like any others.
            inner = next(part for part in node.args if isinstance(part, fx.Node) and part.op == "get_attr")
            module = self._value[inner]
            passed = node.args[node.args.index(inner) + 1 :]
            places = [other for other in module.graph.nodes if other.op == "placeholder"]
            self._value[node] = self.walk(module.graph, dict(zip(places, map(self._argument, passed), strict=True)))
        elif known is None:
            self._value[node] = None  # assertions
        elif not isinstance(target, torch._ops.OpOverload) or target.namespace != "aten":
            raise UsageError(
                f"the network calls {target}, which is no function of torch that networks may call",
                "operations of extensions and custom ones are not kept; write it with torch's own functions",
            )
        elif (written := target._schema.arguments[0].alias_info) is not None and written.is_write:
            self._change(node, read_later)
        else:
            self._value[node] = self._pure(node)

    def _pure(self, node: fx.Node) -> Any:
        target: Any = node.target
        name = target._schema.name.removeprefix("aten::")
        first = node.args[0] if node.args and isinstance(node.args[0], fx.Node) else None
        if first is not None and f"{name}.default" not in DROPOUTS and self._is_same(node, first, name):
            return self._value[first]
        args, kwargs = list(map(self._argument, node.args)), self._keywords(node)
        overload = target._overloadname
        if name in _CASTS:
            kind = str(node.meta["val"].dtype).removeprefix("torch.")
            name, overload, args, kwargs = "_to_copy", "default", args[:1], {"dtype": Named("dtype", kind)}
        elif name == "native_dropout":
            name, args = "dropout", [args[0], args[1], False]
        elif target.__name__ == LEGACY_BATCH_NORM:
            name, args = "batch_norm", [*args[:5], False, *args[5:7], False]
        name = _RESHAPES.get(name, name)
        function = f"{name}.{overload}"
        if function in STATISTICS:
            args = _norm(args)
        elif function in DROPOUTS:
            args[2] = False
        value = self._emit(function, args, kwargs, values_of(node))
        # torch gives these as the first of several values.
        return (value,) if target.__name__ in (LEGACY_BATCH_NORM, "native_dropout.default") else value

    def _is_same(self, node: fx.Node, first: fx.Node, name: str) -> bool:
        value, source = node.meta["val"], first.meta.get("val")
        if not isinstance(value, Tensor) or not isinstance(source, Tensor) or value.dtype != source.dtype:
            return False
        return name in _SAME | _CASTS or geometry(value) == geometry(source)

    def _change(self, node: fx.Node, read_later: Any) -> None:
        target: Any = node.target
        place: Any = node.args[0]
        was, name = place.meta["val"], target._schema.name.removeprefix("aten::")
        function = f"{_WRITES.get(name, name[:-1])}.{'default' if name in _WRITES else target._overloadname}"
        self._by_storage[was.untyped_storage()._cdata] += [place]
        names = [n for n in self._by_storage[was.untyped_storage()._cdata] if n is not place] + [place]
        others = [other for other in names if geometry(other.meta["val"]) != geometry(was)]
        operands = [other.meta.get("val") for other in node.all_input_nodes]
        mixed = any(isinstance(other, Tensor) and other.dtype != was.dtype for other in operands)
        inner = any(read_later(other) for other in others)
        if inner or (mixed and name not in ("masked_fill_", "index_put_")) or function not in FUNCTIONS:
            raise Entangled
        if name == "copy_":
            if tuple(node.args[1].meta["val"].shape) != tuple(was.shape):  # type: ignore[union-attr]
                raise Entangled
            value = self._argument(node.args[1])
        else:
            args = list(map(self._argument, node.args))
            if name == "zero_":
                args = args[:1]
            elif name == "fill_" and not isinstance(args[1], int | float | bool):
                raise Entangled
            value = self._emit(function, args, self._keywords(node), values_of(node))
        for other in [*names, node]:
            if isinstance(self._value.get(other), Stored):
                self._changed.add(self._value[other].name)
            if other not in others:
                self._value[other] = value

    def _emit(self, function: str, args: list[Any], kwargs: dict[str, Any], shape: Any) -> Any:
        if function not in FUNCTIONS:
            raise UsageError(
                f"the network calls {function.removesuffix('.default')}, which is no function that networks may call",
                "only functions that change nothing and draw nothing at random are run",
            )
        known = {name: value for name, value in kwargs.items() if value is not None}
        call = Call(
            name=self._name(function, args),
            function=function,
            args=tuple(args),
            kwargs=tuple(sorted(known.items())),
            shape=shape,
        )
        self.calls.append(call)
        return Value(call.name)

    def _pick(self, node: fx.Node) -> Any:
        source, index = self._value[node.args[0]], node.args[1]  # type: ignore[index]
        if isinstance(source, tuple):
            return source[index] if index < len(source) else None  # type: ignore[operator, index]
        if not isinstance(source, Value):
            return node.meta.get("val")
        return self._emit(PICK, [source, index], {}, values_of(node))

    def _name(self, function: str, args: list[Any]) -> str:
        """The path of the module whose weight is multiplied, or the function's name; numbered where it is taken."""
        weight = next((part.name for part in args if isinstance(part, Stored)), None)
        if function.startswith("addmm"):
            weight = next((part.name for part in args[1:] if isinstance(part, Stored)), None)
        if weight in self.tied.values():
            own = (alias for alias, first in self.tied.items() if first == weight)
            weight = next((alias for alias in own if _path(alias) == self._module), weight)
        if function in WEIGHTED and weight is not None and (path := _path(weight)):
            names = (path if number == 1 else f"{path}#{number}" for number in itertools.count(1))
            name = next(name for name in names if name not in self._taken)
        else:
            base = function.partition(".")[0]
            taken = self._taken | self._reserved
            while (name := base if not self._count[base] else f"{base}_{self._count[base]}") in taken:
                self._count[base] += 1
        self._taken.add(name)
        return name

    def _keywords(self, node: fx.Node) -> dict[str, Any]:
        return {name: self._argument(value) for name, value in node.kwargs.items() if name not in _UNSAID}

    def _argument(self, part: Any) -> Any:
        if isinstance(part, fx.Node):
            if part not in self._value:
                raise KeyError(part.name)
            return self._argument(self._value[part])
        if isinstance(part, torch.SymInt):
            return self._size(part)
        if isinstance(part, torch.SymFloat | torch.SymBool):
            raise UsageError(
                "the network computes with a number that depends on its data or on the number of samples",
                "use torch.where for choices by data, and mean for averages",
            )
        if isinstance(part, torch.dtype):
            return Named("dtype", str(part).removeprefix("torch."))
        if isinstance(part, torch.memory_format):
            return Named("memory_format", str(part).removeprefix("torch."))
        if isinstance(part, torch.device | torch.layout):
            return None
        if isinstance(part, list | tuple):
            return tuple(self._argument(inner) for inner in part)
        return part

    def _size(self, size: torch.SymInt) -> Argument:
        known = size_of(size)
        if isinstance(known, int):
            return known
        if known.times not in self._sizes:
            if 1 not in self._sizes:
                first = next(part for part in self.names.values() if isinstance(part, Value))
                self._sizes[1] = self._emit("sym_size.int", [first, 0], {}, None)
            if known.times > 1:
                self._sizes[known.times] = self._emit("mul", [self._sizes[1], known.times], {}, None)
        return self._sizes[known.times]


def _norm(args: list[Any]) -> list[Any]:
    """Norms that take the batch's statistics in evaluation too never use running ones."""
    running = [None, None] if args[5] is True else args[3:5]
    return [*args[:3], *running, *args[5:8], False]


def _path(name: str) -> str:
    """The module's path of a parameter; of a bare ``weight`` there is none."""
    for suffix in (".weight", "_weight"):
        if name.endswith(suffix):
            return name.removesuffix(suffix)
    return "" if name == "weight" else name


def needed(calls: list[Call], output: str) -> Iterator[Call]:
    """The calls that lead to ``output``, in order."""
    wanted, kept = {output}, []
    for call in reversed(calls):
        if call.name in wanted:
            wanted |= set(call.reads)
            kept.append(call)
    return reversed(kept)
