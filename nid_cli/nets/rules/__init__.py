"""What is known of functions that networks call: for each the rule of its axes, and its role.

What may run at all is listed in ``nets.functions``; each of these has a row, and some that torch puts in their place.
Adding a function is adding it there, a row to the table of its family, and an example to the tests, which run each with
its axes permuted.
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
from nid_cli.nets.rules.row import SITES, Row, Rule, overloads, rows

__all__ = ["FUNCTIONS", "SITES", "Row", "Rule", "row_of", "statistics", "weight_of"]

FAMILIES = (contractions, convolutions, norms, elementwise, layout, taking, reductions, spatial, constants)
# These may run, and pin what they read.
UNRULED = (
    *overloads("addbmm aminmax block_diag diagonal_scatter dstack hstack index_copy linalg_norm log_sigmoid_forward"),
    *overloads("masked_scatter meshgrid rot90 take_along_dim unfold_copy vstack"),
    *("index_fill.int_Scalar", "index_fill.int_Tensor", "meshgrid.indexing"),
)
FUNCTIONS: dict[str, Row] = rows(None, *UNRULED) | {
    function: row for family in FAMILIES for function, row in family.ROWS.items()
}


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
