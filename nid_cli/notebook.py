"""A registry in a notebook: its groups and results as data frames, its models as functions."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nid_cli.errors import UsageError, unknown
from nid_cli.nets.graph import Graph
from nid_cli.pipeline.analyses.catalog import ANALYSES, SCOPES
from nid_cli.pipeline.analyses.lab import Lab, lab_of
from nid_cli.pipeline.analyses.run import with_matrices
from nid_cli.pipeline.context import Context
from nid_cli.pipeline.housekeeping import group as manage
from nid_cli.pipeline.table import join
from nid_cli.records.table import PLACES
from nid_cli.registry import results
from nid_cli.registry.database import Registry
from nid_cli.registry.opening import open_for_reading
from nid_cli.registry.selection import matching_groups, select_models
from nid_cli.specs import Kappa, Selection, symmetry_name

if TYPE_CHECKING:
    import pandas as pd
    from torch import Tensor


@dataclass(frozen=True)
class LoadedModel:
    """One model at one epoch: its network as data, and its effective weights, statistics and gates by name."""

    graph: Graph
    state: Mapping[str, Tensor]

    def __call__(self, x: Tensor) -> Tensor:
        """Outputs (N x outputs) for normalized inputs (N x *input shape), in eval mode, without gradients."""
        import torch

        from nid_cli.nets.functional import forward

        with torch.no_grad():
            return forward(self.graph, self.state, x)


class Archive:
    """One registry, opened for reading."""

    def __init__(self, path: str | Path | None = None) -> None:
        self._context = Context(registry=None if path is None else Path(path), device="cpu")
        self._registry: Registry = open_for_reading(self._context.registry)

    def groups(self, **selectors: Any) -> pd.DataFrame:
        """The groups (``nid.group/1``), one row each; selectors as in :meth:`results`."""
        import pandas as pd

        return pd.DataFrame(manage.list_groups(self._context, _selection(selectors)))

    def results(self, analysis: str, columns: Sequence[str] | None = None, **where: Any) -> pd.DataFrame:
        """All recorded results of an analysis (``lmc``, ``match``, ``cost`` ...), one row for each record.

        Args:
            columns: only these, in this order, which is much faster where there are many results.
            where: selectors of groups (arch, dataset, symmetry, kappa, group, sweep), and any other field of the
                records, with the value that it must have (``align="none"``, ``epoch=100``); a list of values means any
                of them.

        Returns:
            Without rows, but with the columns of this analysis, where no record is so; without columns as well where
            the registry has no record of this analysis.

        Raises:
            UsageError: no such analysis, no record has such a field, or the synthetic experiment, which has no groups,
            is asked for by a selector. NotFoundError: no group matches.
            IntegrityError: a file of matrices is not what was recorded.
        """
        if analysis not in ANALYSES:
            raise unknown("analysis", analysis, ANALYSES)
        selectors = {name: where.pop(name) for name in SELECTORS if name in where}
        if selectors and not SCOPES[ANALYSES[analysis].scope]:
            raise UsageError(f"the synthetic experiment has no groups that {', '.join(selectors)} could choose")
        selection = _selection(selectors) if SCOPES[ANALYSES[analysis].scope] else None
        if selection is not None:
            with self._registry.read() as connection:
                matching_groups(connection, selection)  # what was asked for must be there
        if columns is not None:
            return self._columns(analysis, list(columns), selection, where)
        found = self._recorded(analysis, selection)
        known = found or self._recorded(analysis, selection and Selection())
        fields = dict.fromkeys(name for record in known for name in record)
        if known and (wrong := [name for name in where if name not in fields]):
            raise unknown(f"field of {analysis}", wrong[0], fields)
        wanted = {name: _several(value) for name, value in where.items()}
        fitting = [r for r in found if all(n in r and (r[n] in w or r[n] == w) for n, w in wanted.items())]
        if fitting:
            return self._frame(fitting)
        of_each_shape = {tuple(record): record for record in known}
        return self._frame(of_each_shape.values()).head(0).copy()

    def table(self, columns: Sequence[str] | None = None, epochs: str = "last", **selectors: Any) -> pd.DataFrame:
        """What was measured, one row a group and epoch (``nid.table/1``), for the usual parameters of each analysis.

        Args:
            columns: only these beside what a row is about [all].
            epochs: as ``--epochs``; selectors as in :meth:`results`.

        Raises:
            UsageError: no such column. NotFoundError: nothing is selected.
        """
        import pandas as pd

        selection = replace(_selection(selectors), epochs=epochs)
        return pd.DataFrame(join(self._context, selection, list(PLACES) if columns is None else columns).rows)

    def _columns(
        self, analysis: str, names: list[str], selection: Selection | None, where: Mapping[str, Any]
    ) -> pd.DataFrame:
        """Some columns of the results that fit; those in files of their own need whole records."""
        import pandas as pd

        from nid_cli.registry.columns import read_columns

        what = ANALYSES[analysis]
        declared = dict.fromkeys(column.name for kind in what.records for column in kind.columns())
        if wrong := [name for name in (*names, *where) if name not in declared]:
            raise unknown(f"field of {analysis}", wrong[0], declared)
        if not what.whole.isdisjoint((*names, *where)):
            return self.results(analysis, **where, **_selectors(selection)).reindex(columns=names)
        with self._registry.read() as connection:
            asked = list(dict.fromkeys([*names, *where]))
            found = read_columns(connection, analysis, asked, selection, what.defaults)
        wanted = [(found[name], _several(value)) for name, value in where.items()]
        count = len(next(iter(found.values()), ()))
        fitting = [i for i in range(count) if all(own[i] in values or own[i] == values for own, values in wanted)]
        shown = list(dict.fromkeys(names))
        return pd.DataFrame({name: [found[name][i] for i in fitting] for name in shown}, columns=shown)

    def _recorded(self, analysis: str, selection: Selection | None) -> list[dict[str, Any]]:
        with self._registry.read() as connection:
            return results.of_kind(connection, analysis, selection, ANALYSES[analysis].complete)

    def _frame(self, records: Iterable[dict[str, Any]]) -> pd.DataFrame:
        import pandas as pd

        return pd.DataFrame([with_matrices(self._registry, record, True) for record in records])

    def load(self, group: str, model: int, epoch: int | None = None) -> LoadedModel:
        """A model of a group by its number, at an epoch (the last that it has).

        Raises:
            NotFoundError: no such group, model or epoch. IntegrityError: its file is not what was recorded.
        """
        epochs = "last" if epoch is None else str(epoch)
        selection = Selection(group=(group,), models=str(model), epochs=epochs)
        with self._registry.read() as connection:
            [selected] = select_models(connection, selection)
        [member] = selected.models
        return LoadedModel(selected.group.graph, self._lab.model(selected.group, member, selected.epochs[0]))

    @cached_property
    def _lab(self) -> Lab:
        return lab_of(self._registry, self._context)


def open_registry(path: str | Path | None = None) -> Archive:
    """The registry at ``path`` (a file, or a folder that has one), else the nearest one, for use in notebooks.

    Raises:
        NotFoundError: there is none.
    """
    return Archive(path)


SELECTORS = ("arch", "dataset", "symmetry", "kappa", "group", "sweep")


def _selection(given: Mapping[str, Any]) -> Selection:
    """Selectors of groups, each one value or several."""
    if wrong := [name for name in given if name not in SELECTORS]:
        raise unknown("selector", wrong[0], SELECTORS)
    many: dict[str, Any] = {name: _several(value) for name, value in given.items()}
    if "kappa" in many:
        many["kappa"] = [Kappa.of(value) for value in many["kappa"]]
    if "symmetry" in many:
        many["symmetry"] = [symmetry_name(value) for value in many["symmetry"]]
    tuples: dict[str, Any] = {name: tuple(values) for name, values in many.items()}
    return Selection(**tuples)


def _selectors(selection: Selection | None) -> dict[str, Any]:
    """The keyword arguments that :func:`_selection` reads."""
    given = {} if selection is None else {name: getattr(selection, name) for name in SELECTORS}
    return {
        name: [k.json for k in values] if name == "kappa" else list(values) for name, values in given.items() if values
    }


def _several(value: Any) -> list[Any]:
    """The values that are meant by one, or by a list of them."""
    return list(value) if isinstance(value, Collection) and not isinstance(value, (str, Mapping)) else [value]
