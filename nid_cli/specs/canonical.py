"""Equal values as equal text: the canonical JSON that hashes and keys are made of."""

from __future__ import annotations

import hashlib
import json
from dataclasses import MISSING, Field, field, fields
from typing import Any


def canonical_json(value: Any) -> str:
    """JSON with sorted keys and no spaces: equal values give equal text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def stable_hash(value: Any) -> str:
    """SHA-256 (hex) of the canonical JSON of ``value``; the same on every machine and Python."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def derive_seed(base: int, *path: str | int) -> int:
    """A 63-bit seed for one purpose (``"mask"``, ``"init", 3``, ...), drawn deterministically from ``base``."""
    digest = hashlib.sha256(canonical_json([base, *path]).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def later(default: Any) -> Any:
    """Declares a field that older values do not have: at its default it stays out of the canonical form.

    So hashes and keys that were made before the field existed hold.
    """
    return field(default=default, metadata={"later": True})


def at_rest(value: Any) -> set[str]:
    """The canonical names of a dataclass's later fields that have their defaults."""
    return {
        name_of(declared)
        for declared in fields(value)
        if declared.metadata.get("later") and getattr(value, declared.name) == declared.default
    }


def called(name: str, default: Any = MISSING) -> Any:
    """Declares a field that the canonical form and users' settings call ``name``."""
    return field(default=default, metadata={"name": name})


def name_of(declared: Field[Any]) -> str:
    """What the canonical form calls a field."""
    return str(declared.metadata.get("name", declared.name))


class Canonical:
    """A frozen dataclass with a flat canonical form."""

    def flat(self) -> dict[str, Any]:
        """All fields by their canonical names, as plain JSON-able values."""
        own = {name_of(declared): getattr(self, declared.name) for declared in fields(self)}  # type: ignore[arg-type]
        return {name: list(value) if isinstance(value, tuple) else value for name, value in own.items()}

    def canonical(self) -> dict[str, Any]:
        """:meth:`flat` without later fields that have their defaults: what hashes and keys cover."""
        usual = at_rest(self)
        return {name: value for name, value in self.flat().items() if name not in usual}
