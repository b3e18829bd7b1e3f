"""Whether a network's description may be run: a description from an archive is data from a stranger. No torch.

What is refused here never runs: functions outside the list, calls that read what no earlier call made (so no loops),
names that are paths, sizes that would fill a machine. What values really measure is held against what is declared in
``nets.bounds``, before any memory is taken for them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from nid_cli.errors import IntegrityError
from nid_cli.nets.calls import INPUT, Batch, Call, Named, Shape, Stored, Value, parts
from nid_cli.nets.description import Description
from nid_cli.nets.functions import FUNCTIONS, PICK, SIZES
from nid_cli.nets.sizes import numbers

MOST_CALLS = 100_000
LONGEST_NAME = 200
# Numbers a sample in one value: 1 GiB in float32.
LARGEST_VALUE = 2**28
# Numbers a sample in all values that are needed at one time, views counted as copies: 8 GiB in float32.
LARGEST_TOGETHER = 2**31
# Bytes of all stored tensors.
LARGEST_STATE = 2**36
MOST_AXES = 16
BYTES = {
    "bool": 1,
    "uint8": 1,
    "int8": 1,
    "int16": 2,
    "int32": 4,
    "int64": 8,
    "float16": 2,
    "bfloat16": 2,
    "float32": 4,
    "float64": 8,
    "complex64": 8,
}
MEMORY_FORMATS = ("contiguous_format", "preserve_format", "channels_last", "channels_last_3d")
REFUSED_KEYWORDS = ("out", "generator", "device", "layout", "pin_memory", "names")


def validate(description: Description) -> None:
    """Refuses a description that must not be run.

    Raises:
        IntegrityError: one sentence that names what is wrong.
    """
    calls = description.calls
    if len(calls) > MOST_CALLS:
        raise IntegrityError(f"the network has {len(calls)} calls, more than {MOST_CALLS}")
    _stored(description)
    if not description.inputs:
        raise IntegrityError("the network has no input")
    for given in description.inputs:
        _name(given.name)
        _shape(f"input {given.name}", given.shape)
        if not given.shape or given.shape[0] != Batch():
            raise IntegrityError(f"input {given.name} of the network does not have the samples first")
        if any(isinstance(size, Batch) for size in given.shape[1:]):
            raise IntegrityError(f"input {given.name} of the network has the samples in more than one axis")
        if given.dtype not in ("float32", "int64") or (given.dtype == "int64") != (given.vocabulary is not None):
            raise IntegrityError(f"input {given.name} of the network is neither float32 nor int64 with a vocabulary")
        if given.vocabulary is not None and given.vocabulary < 1:
            raise IntegrityError(f"input {given.name} of the network has a vocabulary below 1")
    known = {given.name for given in description.inputs}
    if len(known) < len(description.inputs):
        raise IntegrityError("the network has two inputs of one name")
    stored = description.parameters.keys() | description.buffers.keys()
    for call in calls:
        _call(call, known, stored)
        known.add(call.name)
    if description.output not in description.by_name:
        raise IntegrityError(f"the network's output {description.output[:60]!r} is none of its calls")


def validate_answer(description: Description) -> None:
    """Refuses a checked description that is not of one input and one output, as all analyses take a network to be.

    Raises:
        IntegrityError: one sentence that names what is wrong.
    """
    if [given.name for given in description.inputs] != [INPUT]:
        raise IntegrityError(f"the network does not read one input that is called {INPUT}")
    shape = description.by_name[description.output].shape or ()
    if len(shape) < 2 or shape[0] != Batch() or not all(isinstance(size, int) for size in shape[1:]):
        raise IntegrityError("the network's output is not one value with the samples first")


def _call(call: Call, known: set[str], stored: Iterable[str]) -> None:
    _name(call.name)
    if call.name in known:
        raise IntegrityError(f"the network has two values of the name {call.name}")
    if call.function not in FUNCTIONS:
        raise IntegrityError(f"the network calls {call.function[:60]!r}, which is no function that networks may call")
    for name in call.reads:
        if name not in known:
            raise IntegrityError(f"call {call.name} of the network reads {name[:60]!r}, which no earlier call made")
    for name in call.stored:
        if name not in stored:
            raise IntegrityError(f"call {call.name} of the network reads {name[:60]!r}, which is not stored")
    for keyword, _ in call.kwargs:
        if keyword in REFUSED_KEYWORDS or not keyword.isidentifier() or not keyword.isascii():
            raise IntegrityError(f"call {call.name} of the network sets {keyword[:60]!r}, which calls may not set")
    for part in parts((call.args, tuple(value for _, value in call.kwargs))):
        _constant(call, part)
    if call.function in SIZES and (call.shape is not None or call.kwargs):
        raise IntegrityError(f"call {call.name} of the network is a size and yet has a shape")
    if call.function not in SIZES and call.shape is None:
        raise IntegrityError(f"call {call.name} of the network declares no shape")
    if call.function == PICK and not (len(call.args) == 2 and isinstance(call.args[1], int)):
        raise IntegrityError(f"call {call.name} of the network does not pick one of several values")
    shapes = call.shape or ()
    for shape in shapes if shapes and isinstance(shapes[0], tuple) else (shapes,):
        _shape(f"call {call.name}", shape)


def _constant(call: Call, part: object) -> None:
    match part:
        case Value() | Stored() | None | bool() | float():
            return
        case int() if abs(part) < 2**63:
            return
        case str() if len(part) <= LONGEST_NAME and part.isprintable():
            return
        case Batch(times) if 0 < times <= LARGEST_VALUE:
            return
        case Named("dtype", name) if name in BYTES:
            return
        case Named("memory_format", name) if name in MEMORY_FORMATS:
            return
    raise IntegrityError(f"call {call.name} of the network has an argument that calls may not have: {str(part)[:60]}")


def _stored(description: Description) -> None:
    tensors = {name: (shape, "float32") for name, shape in description.parameters.items()}
    both = tensors.keys() & description.buffers.keys()
    if both:
        raise IntegrityError(f"the network stores {min(both)} both as a parameter and as a buffer")
    tensors |= {name: (buffer.shape, buffer.dtype) for name, buffer in description.buffers.items()}
    total = 0
    for name, (shape, dtype) in tensors.items():
        _name(name)
        _shape(f"tensor {name}", shape, LARGEST_STATE)
        if any(isinstance(size, Batch) for size in shape):
            raise IntegrityError(f"tensor {name} of the network changes its size with the samples")
        if dtype not in BYTES:
            raise IntegrityError(f"tensor {name} of the network is of a type that none may have: {dtype[:60]!r}")
        total += numbers(shape) * BYTES[dtype]
    if total > LARGEST_STATE:
        raise IntegrityError(f"the network stores more than {LARGEST_STATE >> 30} GiB")
    _tied(description.tied, tensors.keys())
    for name in description.pinned:
        _name(name)
    if strange := [name for name in description.frozen if name not in description.parameters]:
        raise IntegrityError(f"the network freezes {strange[0][:60]!r}, which is no parameter of it")


def _tied(tied: Mapping[str, str], stored: Iterable[str]) -> None:
    for alias, first in tied.items():
        _name(alias)
        if alias in stored or first not in stored:
            raise IntegrityError(f"the network ties {alias} to {first[:60]!r}, which is not one stored tensor")


def _shape(what: str, shape: Shape, most: int = LARGEST_VALUE) -> None:
    if not isinstance(shape, tuple) or any(not isinstance(size, int | Batch) for size in shape):
        raise IntegrityError(f"{what} of the network has a shape that is none")
    if len(shape) > MOST_AXES or any((size.times if isinstance(size, Batch) else size) < 0 for size in shape):
        raise IntegrityError(f"{what} of the network has a negative size or more than {MOST_AXES} axes")
    if sum(isinstance(size, Batch) for size in shape) > 1:
        raise IntegrityError(f"{what} of the network has the samples in more than one axis")
    # An empty axis hides others that are huge from the product.
    if numbers(tuple(size for size in shape if size != 0)) > most:
        raise IntegrityError(f"{what} of the network would be larger than {most} numbers a sample")


def _name(name: str) -> None:
    if not name or len(name) > LONGEST_NAME or not name.isprintable() or name.startswith(".") or {"/", "\\"} & {*name}:
        raise IntegrityError(f"the network has a name that is no name: {name[:60]!r}", "names are not paths")
