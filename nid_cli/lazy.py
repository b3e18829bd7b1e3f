"""References to code that is imported when it is needed: ``"package.module:name"``, so that a table needs no torch."""

from __future__ import annotations

import importlib
from functools import reduce
from typing import Any


def resolve(reference: str) -> Any:
    """What ``"package.module:name"`` (or ``"package.module:name.attribute"``) refers to; imports the module."""
    module, _, path = reference.partition(":")
    return reduce(getattr, path.split("."), importlib.import_module(module))
