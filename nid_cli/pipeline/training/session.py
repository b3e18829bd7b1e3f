"""What the trainings of one command share: its row, the registry, the data, and the engine that has them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from functools import cached_property
from typing import TYPE_CHECKING

from nid_cli import files
from nid_cli.pipeline import datasets
from nid_cli.pipeline.context import Context
from nid_cli.pipeline.lineage import CommandAtWork, recording, writing_files
from nid_cli.pipeline.training.requests import Request
from nid_cli.registry import invocations
from nid_cli.registry.database import Registry
from nid_cli.registry.location import locate
from nid_cli.registry.opening import open_for_writing
from nid_cli.specs import DataSpec, canonical_json

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from nid_cli.data.tensors import Data
    from nid_cli.pipeline.engines import Engine

SLOWER = ": SQLite uses a rollback journal there, and is slower"
KEPT = "epochs up to each model's last checkpoint are kept"


class Session:
    """One command that trains. Nothing is written, and no registry made, before :meth:`begin`.

    Args:
        name: the command's, in its row.
    """

    def __init__(self, context: Context, exits: ExitStack, name: str = "train") -> None:
        self.context, self.name = context, name
        self._exits = exits
        self._begun: tuple[Registry, CommandAtWork] | None = None
        self._origin: dict[str, object] | None = None
        self._pending: list[Callable[[Connection], None]] = []
        self._afterwards: list[Callable[[], None]] = []
        self._data: dict[str, Data] = {}
        self._fingerprints: dict[str, str] = {}
        self._shared: set[str] = set()

    @property
    def existing(self) -> Registry | None:
        """The registry, where there is one."""
        return self._begun[0] if self._begun is not None else self._found

    @cached_property
    def _found(self) -> Registry | None:
        path = locate(self.context.registry)
        return open_for_writing(self.context.registry) if path is not None and path.exists() else None

    def begin(self) -> Registry:
        """The registry, made where there is none; from here on the command has files there that have no rows yet."""
        if self._begun is None:
            registry = open_for_writing(self.context.registry, create=True)
            self._origin = invocations.describe(
                self.name, self.context.argv, str(self.context.torch_device()), self.context.sweep
            )
            self._exits.enter_context(writing_files(registry, self.context))
            call = self._exits.enter_context(recording(registry, KEPT))
            self._begun = registry, call
            if registry.on_network:
                self.context.say(f"{registry.folder} is on a network file system{SLOWER}")
        return self._begun[0]

    def invocation(self, connection: Connection) -> int:
        """The id of the command's row, which is made with the first of its trainings."""
        assert self._begun is not None and self._origin is not None
        _, call = self._begun
        return call.begin(connection, self._origin) if call.id is None else call.id

    def write(self, rows: Callable[[Connection], None], then: Callable[[], None] | None = None) -> None:
        """Has rows written with the next :meth:`flush`; ``then`` is called when they are safe."""
        self._pending.append(rows)
        if then is not None:
            self._afterwards.append(then)

    def flush(self) -> None:
        """Writes what is pending in one short transaction: each has to wait for the disk."""
        pending, self._pending = self._pending, []
        afterwards, self._afterwards = self._afterwards, []
        if pending:
            assert self._begun is not None
            with self._begun[0].write() as connection:
                for rows in pending:
                    rows(connection)
        for then in afterwards:
            then()

    def data(self, request: Request) -> Data:
        """The data of a training, read once for all that have them.

        Raises:
            NotFoundError, IntegrityError: they are not there, or others.
        """
        key = data_key(request.spec.data)
        if key not in self._data:
            self._data[key] = read_data(self.context, request)
        return self._data[key]

    def fingerprint(self, request: Request) -> str:
        """The fingerprint of the data that :meth:`data` gave."""
        key = data_key(request.spec.data)
        if key not in self._fingerprints:
            self._fingerprints[key] = self._data[key].fingerprint()
        return self._fingerprints[key]

    def share(self, engine: Engine, request: Request, fixed: bytes | None) -> tuple[str, str | None]:
        """Has the engine hold a run's data and fixed tensors; their keys."""
        key, own = data_key(request.spec.data), f"fixed {files.sha256(fixed)}" if fixed is not None else None
        if key not in self._shared:
            engine.share(key, self._data[key])
            self._shared.add(key)
        if own is not None and own not in self._shared:
            engine.share(own, fixed)
            self._shared.add(own)
        return key, own

    def keep_only(self, engine: Engine, keys: set[str]) -> None:
        """Lets go of data and fixed tensors that nobody needs any more.

        Args:
            keys: of those that trainings at work, or to come, need.
        """
        for key in self._shared - keys:
            engine.forget(key)
        self._shared &= keys
        self._data = {key: data for key, data in self._data.items() if key in keys}


def data_key(spec: DataSpec) -> str:
    """What data are shared as."""
    return f"data {canonical_json(spec.flat())}"


def read_data(context: Context, request: Request) -> Data:
    """The data of a training.

    Raises:
        NotFoundError, IntegrityError: they are not there, or others.
    """
    from nid_cli.data.load import load, load_content

    spec = request.spec.data
    context.progress("reading data", 0, 1, spec.name)
    if request.file is not None:
        data = load_content(spec.name, spec.parameters, request.file.content)
    elif spec.content is not None:  # of a group that is there
        data = datasets.load_data(open_for_writing(context.registry), context, spec)
    else:
        data = load(spec.name, spec.parameters, context.data_folder)
    context.progress("reading data", 1, 1, spec.name)
    return data
