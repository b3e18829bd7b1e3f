"""The language that networks are written in: calls of pure ATen operations on named tensors. No torch.

A network is a list of calls (:class:`Call`) in the order they run. What a call reads is named: values of the input or
of earlier calls (:class:`Value`), and tensors that the network stores (:class:`Stored`): parameters and buffers. All
else are constants. Such a list is JSON (``nets.description``), whoever wrote it: our own architectures, or
``torch.export`` for any module (``nets.export``).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

INPUT = "input"


@dataclass(frozen=True)
class Value:
    """The value of a call, or an input of the network, by its name."""

    name: str


@dataclass(frozen=True)
class Stored:
    """A parameter or buffer, by its name in states and checkpoints."""

    name: str


@dataclass(frozen=True)
class Named:
    """A constant that torch has a name for: ``kind`` is ``dtype`` or ``memory_format``."""

    kind: str
    name: str


@dataclass(frozen=True)
class Batch:
    """A size that is a multiple of the number of samples: ``times`` N."""

    times: int = 1


Size = int | Batch
Shape = tuple[Size, ...]
# A constant: None, bool, int, float, str, Named; what is read: Value, Stored; or a tuple of arguments.
Argument = Any


@dataclass(frozen=True, kw_only=True)
class Call:
    """One call.

    ``name`` names its value; of a weighted call it is the path of its module, which records show. ``function`` is an
    ATen operation with its overload (``linear.default``), a key of ``FUNCTIONS``. ``shape`` is that of its value:
    None for a number (a size), a tuple of shapes for a call with several values, which ``getitem`` takes apart.
    ``site`` overrides the recording site that its function has; "" is none.
    """

    name: str
    function: str
    args: tuple[Argument, ...]
    kwargs: tuple[tuple[str, Argument], ...] = ()
    shape: Shape | tuple[Shape, ...] | None
    site: str | None = None

    @property
    def reads(self) -> tuple[str, ...]:
        """The names of the values that it reads, in order, each once."""
        found = (part.name for part in parts((self.args, self.kwargs)) if isinstance(part, Value))
        return tuple(dict.fromkeys(found))

    @property
    def stored(self) -> tuple[str, ...]:
        """The names of the stored tensors that it reads, in order, each once."""
        found = (part.name for part in parts((self.args, self.kwargs)) if isinstance(part, Stored))
        return tuple(dict.fromkeys(found))


def parts(argument: Argument) -> Iterator[Argument]:
    """The leaves of nested tuples of arguments."""
    if isinstance(argument, tuple):
        for part in argument:
            yield from parts(part)
    else:
        yield argument
