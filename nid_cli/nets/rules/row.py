"""What the table of functions says of one of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from nid_cli.nets.calls import Call
from nid_cli.nets.tracing import Trace, Traced

Rule = Callable[[Trace, Call], Traced]

SITES = {"weighted": "post_linear", "norm": "post_norm", "activation": "post_activation"}


@dataclass(frozen=True, kw_only=True)
class Row:
    """The rule of a function (None: it may run, and pins) and its role.

    ``role``: ``weighted`` (an affine map of its input by a weight matrix), ``norm``, ``activation`` (the nonlinearity
    of a hidden layer), or None. ``neurons``: the axis of its value that has one position a neuron; None where that
    is its input's. Of a weighted one, ``weight`` is the position of its weight, and ``rows`` the axis of the weight
    with one position a neuron. ``statistics``: the positions of buffers that training updates. ``pure``: each number of
    its value comes from numbers at the same place alone.
    """

    rule: Rule | None
    role: str | None = None
    neurons: int | None = None
    weight: int | None = None
    rows: int = 0
    statistics: tuple[int, ...] = ()
    pure: bool = False

    @property
    def site(self) -> str | None:
        """Where a hidden layer is recorded at its value."""
        return SITES.get(self.role or "")


def rows(rule: Rule | None, *functions: str, **says: object) -> dict[str, Row]:
    """The same row for several functions."""
    return {function: Row(rule=rule, **says) for function in functions}  # type: ignore[arg-type]


def overloads(names: str, overload: str = "default") -> list[str]:
    """Functions of several operations, which ``names`` lists with spaces between, by one overload."""
    return [f"{name}.{overload}" for name in names.split()]
