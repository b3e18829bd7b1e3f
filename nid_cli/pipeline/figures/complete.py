"""A figure of the groups that have all its results, where others lack some."""

from __future__ import annotations

from collections.abc import Sequence

from nid_cli.errors import NidError, NotFoundError, UsageError
from nid_cli.pipeline.context import Context
from nid_cli.pipeline.figures.draw import Gathered, gather
from nid_cli.pipeline.figures.recorded import MissingResults
from nid_cli.pipeline.figures.table import Options
from nid_cli.registry.opening import open_for_reading
from nid_cli.registry.selection import matching_groups
from nid_cli.specs import Selection


def of_groups(selection: Selection, names: Sequence[str]) -> Selection:
    """The same models and epochs of these groups."""
    return Selection(group=tuple(names), models=selection.models, epochs=selection.epochs)


def gather_complete(
    context: Context, figure: str, selection: Selection, options: Options, *, compute: bool = False
) -> tuple[Gathered | None, Selection, NidError | None]:
    """What a figure shows, if need be without the groups that lack results; of which selection; what is wrong.

    None: nothing can be drawn; the error says why.
    """
    try:
        return gather(context, figure, selection, options, compute=compute), selection, None
    except MissingResults as error:
        with open_for_reading(context.registry).read() as connection:
            names = [group.name for group in matching_groups(connection, selection)]
        complete = [name for name in names if name not in error.groups]
        if not complete or len(complete) == len(names):
            return None, selection, error
        fewer = of_groups(selection, complete)
        found, _, _ = gather_complete(context, figure, fewer, options, compute=compute)
        return found, fewer if found else selection, error
    except (NotFoundError, UsageError) as error:
        return None, selection, error
