"""What spaces are called: by the weighted call that opens them, numbered where several write into one."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from nid_cli.nets.apart import Apart
from nid_cli.nets.atoms import Atom, leaf_atoms
from nid_cli.nets.calls import Call
from nid_cli.nets.rules import row_of, weight_of
from nid_cli.nets.tracing import Trace

OF_ATTENTION = ("heads", "qk", "vo")


@dataclass(frozen=True)
class Naming:
    """The name of a space, the first weighted call that puts it out, and its label, for people. Both are unique."""

    name: str
    label: str


def names_of(trace: Trace, spaces: Iterable[Atom], fixed: Collection[str]) -> dict[Atom, Naming]:
    """Names and labels of free atoms, given in the order in which the network comes upon them.

    A hidden layer is called by the module that opens it, a stream that several write into ``stream.1``, parts of
    attention by its module (``attn.heads``, ``attn.qk``, ``attn.vo``), other parts of axes as ``groups`` or by number.
    """
    words: dict[Atom, str] = {}
    for axis, word in trace.words:
        for leaf in leaf_atoms(axis):
            words.setdefault(leaf, word)
    writers = _writers(trace, fixed)
    tensors = _tensors(trace, fixed)
    named: dict[Atom, Naming] = {}
    names, labels = _Unique(), _Unique()
    streams = 0
    for atom in spaces:
        calls = writers.get(atom, [])
        opener = calls[0].name if calls else tensors[atom]
        is_whole = bool(calls) and _free(_neurons(trace, calls[0])) == {atom}
        word = words.get(atom, "part")
        if is_whole and len(calls) > 1:
            streams += 1
            label = f"stream.{streams}"
        elif is_whole or (not calls and word == "part"):
            label = opener
        elif word in OF_ATTENTION:
            label = f"{_attention_of(calls[0], opener) if calls else opener}.{word}"
        else:
            label = f"{opener}.{word}"
        named[atom] = Naming(names(opener if is_whole or not calls else f"{opener}.{word}"), labels(label))
    return named


def _attention_of(call: Call, name: str) -> str:
    """The module of attention that a projection belongs to: the one around its own, unless it has none of its own."""
    module, _, last = str(weight_of(call)).rpartition(".")
    return (module.rpartition(".")[0] if last == "weight" else module) or name


class _Unique:
    """Tells apart what is called the same: the second gets a 2."""

    def __init__(self) -> None:
        self.given: set[str] = set()

    def __call__(self, wanted: str) -> str:
        found, count = wanted, 1
        while found in self.given:
            count += 1
            found = f"{wanted}.{count}"
        self.given.add(found)
        return found


def _neurons(trace: Trace, call: Call) -> Atom:
    axes = trace.values[call.name]
    atom: Atom = axes[row_of(call).neurons]
    return atom


def _writers(trace: Trace, fixed: Collection[str]) -> dict[Atom, list[Call]]:
    """For each leaf the weighted calls that put it out, in order."""
    found: dict[Atom, list[Call]] = {}
    for call in trace.calls:
        value = trace.values[call.name]
        weight = weight_of(call)
        if weight is None or weight in fixed or not value or isinstance(value, Apart) or _is_depthwise(trace, call):
            continue
        for leaf in dict.fromkeys(leaf_atoms(_neurons(trace, call))):
            found.setdefault(leaf, []).append(call)
    return found


def _is_depthwise(trace: Trace, call: Call) -> bool:
    """Whether the call scales each neuron of its input on its own, and so writes nothing new."""
    (read,), neurons = call.reads[:1], row_of(call).neurons
    axes = trace.values[read]
    return bool(axes) and neurons == 1 and trace.stored[str(weight_of(call))][1].size == 1 and axes[1].size > 1


def _free(axis: Atom) -> set[Atom]:
    return {leaf for leaf in leaf_atoms(axis) if leaf.size > 1 and not leaf.reason}


def _tensors(trace: Trace, fixed: Collection[str]) -> dict[Atom, str]:
    """For each leaf the module of the first tensor that has it, or the tensor, where it is not a module's weight."""
    found: dict[Atom, str] = {}
    for call in trace.calls:
        for name in call.stored:
            if name not in fixed:
                module, _, last = name.rpartition(".")
                opener = module if module and last in ("weight", "bias") else name
                for axis in trace.stored[name]:
                    for leaf in leaf_atoms(axis):
                        found.setdefault(leaf, opener)
    return found
