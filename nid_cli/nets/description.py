"""A network as data: its inputs, its calls and the tensors that it stores, as one canonical text. No torch.

The text is what registries and archives keep and what its SHA-256 names: the same module taken in twice gives the same
text. Whoever reads one checks it (``nets.validation``) before anything else is done with it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from nid_cli.errors import IntegrityError
from nid_cli.nets.calls import Call, Shape
from nid_cli.nets.encoding import decode_call, decode_shape, encode_call, encode_shape
from nid_cli.specs import canonical_json

VERSION = 1
LONGEST_TEXT = 50_000_000


@dataclass(frozen=True)
class Input:
    """What the network reads: ``shape`` with the samples first; whole numbers below ``vocabulary`` if ``int64``."""

    name: str
    shape: Shape
    dtype: str = "float32"
    vocabulary: int | None = None


@dataclass(frozen=True)
class Buffer:
    """A stored tensor that is not trained. One that is not ``persistent`` is in no state dictionary of the module:

    a constant of its code, which states of ours carry all the same; ``sha256`` is that of its content, so that networks
    with other constants are other networks.
    """

    shape: Shape
    dtype: str = "float32"
    persistent: bool = True
    sha256: str | None = None


@dataclass(frozen=True, kw_only=True)
class Description:
    """A network. ``tied`` maps a parameter's further names to the one that it is stored under.

    ``output`` names the call whose value is the network's. ``pinned`` names spaces that are derived for it, but whose
    permutation changed its outputs when that was tried (``nets.proof``): they are none. ``frozen`` names parameters
    that training leaves as they are.
    """

    inputs: tuple[Input, ...]
    calls: tuple[Call, ...]
    parameters: Mapping[str, Shape]
    buffers: Mapping[str, Buffer] = field(default_factory=dict)
    tied: Mapping[str, str] = field(default_factory=dict)
    output: str
    pinned: tuple[str, ...] = ()
    frozen: tuple[str, ...] = ()

    @cached_property
    def text(self) -> str:
        """The canonical JSON: equal networks are equal text."""
        return self.to_json()

    @cached_property
    def hash(self) -> str:
        """SHA-256 (hex) of the canonical JSON."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    @cached_property
    def by_name(self) -> dict[str, Call]:
        """The calls by name."""
        return {call.name: call for call in self.calls}

    def to_json(self) -> str:
        """The canonical JSON."""
        return canonical_json(
            {
                "version": VERSION,
                "inputs": [_encode_input(given) for given in self.inputs],
                "calls": [encode_call(call) for call in self.calls],
                "parameters": {name: encode_shape(shape) for name, shape in self.parameters.items()},
                "buffers": {name: _encode_buffer(kept) for name, kept in self.buffers.items()},
                "tied": dict(self.tied),
                "output": self.output,
                "pinned": list(self.pinned),
                **({"frozen": list(self.frozen)} if self.frozen else {}),
            }
        )

    @classmethod
    def from_json(cls, text: str, expected: str | None = None) -> Description:
        """The network that ``text`` describes; its form is checked, its content not (``validation.validate``).

        Args:
            expected: the hash that was recorded for it.

        Raises:
            IntegrityError: the text is no description, of another version, or not the one recorded.
        """
        data = _parsed(text)
        if data.get("version") != VERSION or isinstance(data["version"], bool):
            raise IntegrityError(
                f"the network's description is of version {str(data.get('version'))[:20]}, not {VERSION}",
                "a newer nid may read it",
            )
        required = {"version", "inputs", "calls", "parameters", "buffers", "tied", "output", "pinned"}
        if not required <= data.keys() <= {*required, "frozen"}:
            raise IntegrityError("the network's description has other entries than a description has")
        data.setdefault("frozen", [])
        for part in ("inputs", "calls", "pinned", "frozen"):
            if not isinstance(data[part], list):
                raise IntegrityError(f"the network's description has {part} that are no list")
        for part in ("parameters", "buffers", "tied"):
            if not isinstance(data[part], dict):
                raise IntegrityError(f"the network's description has {part} that are no table")
        described = cls(
            inputs=tuple(_decode_input(given) for given in data["inputs"]),
            calls=tuple(decode_call(call) for call in data["calls"]),
            parameters={name: decode_shape(shape) for name, shape in data["parameters"].items()},
            buffers={name: _decode_buffer(kept) for name, kept in data["buffers"].items()},
            tied={name: _text(first) for name, first in data["tied"].items()},
            output=_text(data["output"]),
            pinned=tuple(map(_text, data["pinned"])),
            frozen=tuple(map(_text, data["frozen"])),
        )
        if expected is not None and described.hash != expected:
            raise IntegrityError("the network's description is not the one that was recorded: its SHA-256 differs")
        return described


def _parsed(text: str) -> dict[str, Any]:
    if len(text) > LONGEST_TEXT:
        raise IntegrityError(f"the network's description is longer than {LONGEST_TEXT // 10**6} MB")

    def refuse(constant: str) -> None:
        raise ValueError(constant)

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len({name for name, _ in pairs}) < len(pairs):
            raise ValueError("a key twice")
        return dict(pairs)

    try:
        data = json.loads(text, parse_constant=refuse, object_pairs_hook=unique)
    except (ValueError, RecursionError):
        data = None
    if not isinstance(data, dict):
        raise IntegrityError("the network's description is no JSON object")
    return data


def _text(data: Any) -> str:
    if not isinstance(data, str):
        raise IntegrityError(f"the network's description has a name that is no text: {str(data)[:60]}")
    return data


def _encode_input(given: Input) -> dict[str, Any]:
    data = {"name": given.name, "shape": encode_shape(given.shape), "dtype": given.dtype}
    return data if given.vocabulary is None else {**data, "vocabulary": given.vocabulary}


def _decode_input(data: Any) -> Input:
    required = {"name", "shape", "dtype"}
    if not isinstance(data, dict) or not required <= data.keys() <= {*required, "vocabulary"}:
        raise IntegrityError("the network's description has an input without the right entries")
    vocabulary = data.get("vocabulary")
    if vocabulary is not None and (isinstance(vocabulary, bool) or not isinstance(vocabulary, int)):
        raise IntegrityError("the network's description has a vocabulary that is no whole number")
    return Input(_text(data["name"]), decode_shape(data["shape"]), _text(data["dtype"]), vocabulary)


def _encode_buffer(kept: Buffer) -> dict[str, Any]:
    data = {"shape": encode_shape(kept.shape), "dtype": kept.dtype, "persistent": kept.persistent}
    return data if kept.sha256 is None else {**data, "sha256": kept.sha256}


def _decode_buffer(data: Any) -> Buffer:
    required = {"shape", "dtype", "persistent"}
    if not isinstance(data, dict) or not required <= data.keys() <= {*required, "sha256"}:
        raise IntegrityError("the network's description has a buffer without the right entries")
    if not isinstance(data["persistent"], bool):
        raise IntegrityError("the network's description has a buffer that is neither persistent nor not")
    digest = _text(data["sha256"]) if "sha256" in data else None
    return Buffer(decode_shape(data["shape"]), _text(data["dtype"]), data["persistent"], digest)
