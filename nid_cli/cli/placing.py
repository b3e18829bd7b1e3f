"""Where a command's jobs run: the options of engines."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import typer

from nid_cli.cli import options
from nid_cli.errors import UsageError, unknown
from nid_cli.pipeline.engines import CHOICES
from nid_cli.pipeline.engines.jobs import Place


@dataclass(frozen=True, kw_only=True)
class Placing:
    """The engine, and what it is told, as it was given.

    Raises:
        UsageError: it cannot be.
    """

    engine: str = "local"
    address: str | None = None
    gpus_per_model: float | None = None
    workers: int | None = None

    def __post_init__(self) -> None:
        if self.engine not in CHOICES:
            raise unknown("engine", self.engine, CHOICES)
        if self.workers is not None and self.workers < 1:
            raise UsageError(f"workers must be at least 1, not {self.workers}")
        if self.gpus_per_model is not None and not self.gpus_per_model >= 0:
            raise UsageError(f"gpus-per-model must be at least 0, not {self.gpus_per_model:g}")
        for option, value in (("address", self.address), ("gpus-per-model", self.gpus_per_model)):
            if value is not None and self.engine == "local":
                raise UsageError(f"--{option} goes with --engine ray", "leave it out, or add --engine ray")

    def place(self, device: str, threads: int | None = 1) -> Place:
        """What the engine is told."""
        return Place(
            device=device, workers=self.workers, threads=threads, address=self.address, gpus=self.gpus_per_model
        )


OPTIONS: dict[str, tuple[Any, Any]] = {
    "engine": (
        Annotated[
            str,
            typer.Option(
                metavar="|".join(CHOICES),
                help="Where jobs run: processes of this machine, or a Ray cluster.",
                autocompletion=options.among(CHOICES),
            ),
        ],
        "local",
    ),
    "address": (
        Annotated[
            str | None, typer.Option(metavar="HOST:PORT", help="Of the Ray cluster [the one that runs here: auto].")
        ],
        None,
    ),
    "gpus_per_model": (
        Annotated[float | None, typer.Option(metavar="X", help="A model's share of a GPU on the cluster [1].")],
        None,
    ),
    "workers": (
        Annotated[int | None, typer.Option(metavar="N", help="At most so many at a time [all cores; all there is].")],
        None,
    ),
}
# Makes a command take these options where its parameter ``where`` stands: a :class:`Placing`.
placing = options.bundle("where", OPTIONS, Placing)
Stack = Annotated[
    int | None,
    typer.Option(
        "--stack",
        metavar="N",
        min=1,
        help="Models of a group that one process trains side by side [1; on a GPU as many as fit].",
    ),
]
