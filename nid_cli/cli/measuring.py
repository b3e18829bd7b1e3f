"""What all commands of analyses share: the options that say how results are made and shown, and the call itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nid_cli.analysis.parameters import Parameters
from nid_cli.cli import options, output, render
from nid_cli.cli.placing import OPTIONS as PLACING
from nid_cli.cli.placing import Placing
from nid_cli.cli.planning import hand_over
from nid_cli.pipeline.analyses.catalog import ANALYSES
from nid_cli.pipeline.context import Context
from nid_cli.pipeline.sweeps.parts import Engines, Part
from nid_cli.records import Record, Row
from nid_cli.specs import Selection

if TYPE_CHECKING:
    from nid_cli.pipeline.analyses.requests import Request


@dataclass(frozen=True, kw_only=True)
class Measuring:
    """How an analysis is run, and in what form its results are given."""

    force: bool = False
    device: str = "auto"
    registry: Path | None = None
    data_dir: Path | None = None
    as_json: bool = False
    export: str | None = None
    columns: str | None = None
    where: Placing = field(default_factory=Placing)

    @property
    def in_full(self) -> bool:
        """Whether whole records are given, not the table alone."""
        return self.as_json or self.export is not None

    def run(
        self,
        analysis: str,
        parameters: Parameters,
        table: Callable[[Sequence[Row]], None],
        *,
        kind: type[Record] | None = None,
        matrices: bool = False,
        around: Callable[[Context, Request], AbstractContextManager[None]] | None = None,
        **about: Any,
    ) -> None:
        """Gives the results of an analysis, computed where they are not recorded.

        Args:
            table: prints them for people.
            kind: of the records, where the analysis has several.
            matrices: whether the records have their large fields.
            around: what is done before and after the results are made.
            about: the selection and pairs of the :class:`Request`.

        Raises:
            UsageError: an export or a column that cannot be; the request cannot be.
        """
        from nid_cli.pipeline.analyses import run as pipeline
        from nid_cli.pipeline.analyses.requests import Request

        kinds = ANALYSES[analysis].records
        output.check(self.export)
        names = output.chosen_columns(self.columns, *kinds)
        selection: Selection | None = about.pop("selection", None)

        def request(chosen: Selection | None) -> Request:
            return Request(analysis=analysis, parameters=parameters, selection=chosen or Selection(), **about)

        def compute(context: Context, chosen: Selection | None, engines: Engines) -> list[dict[str, Any]]:
            asked = request(chosen)
            with around(context, asked) if around is not None else nullcontext():
                return pipeline.run(
                    context,
                    asked,
                    force=self.force,
                    matrices=matrices,
                    columns=names,
                    engine=engines.name,
                    place=engines.place,
                )

        def only_export(context: Context, chosen: Selection | None, engines: Engines) -> None:
            records = compute(context, chosen, engines)
            if self.export is not None:
                output.write_rows((kind or kinds[0]).schema, records, self.export)

        part = Part(
            kind="measure",
            name=ANALYSES[analysis].command,
            selection=selection,
            run=only_export,
            request=request,
            target=None if self.export is None else Path(self.export),
            leaves_file=self.export is not None or around is not None or self.force,
        )
        if hand_over(part):
            return
        with options.context(self.registry, self.data_dir, self.device) as context:
            records = compute(context, selection, Engines(self.where.engine, self.where.place(self.device)))

        def human() -> None:
            if names is None:
                table(records)
            else:
                render.table(names, [[output.flat(record)[name] for name in names] for record in records])

        output.show(kind or kinds[0], records, as_json=self.as_json, export=self.export, human=human, columns=names)


OPTIONS: dict[str, tuple[Any, Any]] = {
    "force": (options.Force, False),
    "device": (options.Device, "auto"),
    "registry": (options.RegistryOption, None),
    "data_dir": (options.DataDir, None),
    "as_json": (options.Json, False),
    "export": (options.Export, None),
    "columns": (options.Columns, None),
}


def _measuring(**given: Any) -> Measuring:
    where = Placing(**{name: given.pop(name) for name in PLACING})
    return Measuring(where=where, **given)


# Makes a command take these options where its parameter ``how`` stands: a :class:`Measuring`.
measuring = options.bundle("how", OPTIONS | PLACING, _measuring)
# The same for experiments of their own, which read no data and are computed here.
measuring_alone = options.bundle("how", {n: own for n, own in OPTIONS.items() if n != "data_dir"}, Measuring)
