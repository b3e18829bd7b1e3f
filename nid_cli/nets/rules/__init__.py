"""The functions that a network may call: for each the rule of its axes, and its role.

``FUNCTIONS`` is the list of what may run at all. Adding a function is adding a row to the table of its family, and an
example to the tests, which run each with its axes permuted.
"""

from nid_cli.nets.calls import Call, Stored
from nid_cli.nets.rules import (
    constants,
    contractions,
    convolutions,
    elementwise,
    layout,
    norms,
    reductions,
    spatial,
    taking,
)
from nid_cli.nets.rules.row import SITES, Row, Rule

__all__ = ["FUNCTIONS", "SITES", "Row", "Rule", "row_of", "statistics", "weight_of"]

FAMILIES = (contractions, convolutions, norms, elementwise, layout, taking, reductions, spatial, constants)
FUNCTIONS: dict[str, Row] = {function: row for family in FAMILIES for function, row in family.ROWS.items()}


def row_of(call: Call) -> Row:
    """What the table says of a call's function; of one that it lacks, that it has no rule and no role."""
    return FUNCTIONS.get(call.function, Row(rule=None))


def weight_of(call: Call) -> str | None:
    """The stored tensor that is the weight of a weighted call; None for any other call."""
    row = row_of(call)
    if row.weight is None or row.weight >= len(call.args):
        return None
    weight = call.args[row.weight]
    return weight.name if isinstance(weight, Stored) else None


def statistics(call: Call) -> tuple[str, ...]:
    """The stored tensors that a call updates in training."""
    read = [call.args[position] for position in row_of(call).statistics if position < len(call.args)]
    return tuple(tensor.name for tensor in read if isinstance(tensor, Stored))
