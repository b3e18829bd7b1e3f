"""What all pages are made from: one registry, and the figures that were drawn from it."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nid_cli.pipeline.context import Context
from nid_cli.registry.opening import open_for_reading
from nid_cli.web.kept import Kept


@dataclass(frozen=True, kw_only=True)
class Desk:
    """One registry and the figures drawn from it. ``place``: where the registry is."""

    context: Context
    place: Path
    kept: Kept = field(default_factory=Kept)

    def read(self) -> AbstractContextManager[Any]:
        """A connection in one short transaction.

        Raises:
            NotFoundError, RegistryError: the registry is not there any more, or of another version by now.
        """
        return open_for_reading(self.context.registry).read()
