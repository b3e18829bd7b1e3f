"""Descriptions of networks: one text a network, and nothing of a stranger's runs before it was checked."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nid_cli.errors import IntegrityError
from nid_cli.nets.bounds import check
from nid_cli.nets.calls import Batch, Call, Named, Stored, Value
from nid_cli.nets.description import Buffer, Description, Input
from nid_cli.nets.encoding import decode_argument, encode_argument
from nid_cli.nets.graph import Graph
from nid_cli.nets.validation import validate

SHAPE = (Batch(), 3)
LINEAR = Call(
    name="fc",
    function="linear.default",
    args=(Value("input"), Stored("fc.weight"), Stored("fc.bias")),
    shape=(Batch(), 3),
)
RELU = Call(name="relu", function="relu.default", args=(Value("fc"),), shape=(Batch(), 3))


def network(*calls: Call, **changes: Any) -> Description:
    """A linear layer, a ReLU, and ``calls`` after them."""
    own = Description(
        inputs=(Input("input", (Batch(), 4)),),
        calls=(LINEAR, RELU, *calls),
        parameters={"fc.weight": (3, 4), "fc.bias": (3,)},
        buffers={"mask": Buffer((3,), "bool", persistent=False)},
        output=calls[-1].name if calls else "relu",
    )
    return dataclasses.replace(own, **changes)


def call(function: str, *args: Any, shape: Any = SHAPE, name: str = "last", **kwargs: Any) -> Call:
    return Call(name=name, function=function, args=args, shape=shape, kwargs=tuple(sorted(kwargs.items())))


def test_a_network_is_one_text() -> None:
    described = network()
    again = Description.from_json(described.text, described.hash)
    assert again == described and again.text == described.text and again.hash == described.hash
    shuffled = dataclasses.replace(described, parameters=dict(reversed(described.parameters.items())))
    assert shuffled.hash == described.hash
    assert network(buffers={}).hash != described.hash
    check(described)


leaves = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63) + 1, 2**63 - 1),
    st.floats(allow_nan=False),
    st.text(max_size=5),
    st.builds(Value, st.text(max_size=5)),
    st.builds(Stored, st.text(max_size=5)),
    st.builds(Named, st.just("dtype"), st.sampled_from(["float32", "bool"])),
    st.builds(Batch, st.integers(1, 10**6)),
)


@given(st.recursive(leaves, lambda inner: st.lists(inner, max_size=3).map(tuple), max_leaves=8))
def test_arguments_survive_their_text(argument: Any) -> None:
    try:
        found = decode_argument(json.loads(json.dumps(encode_argument(argument), allow_nan=False)))
    except IntegrityError as error:
        assert "deep" in error.message
    else:
        assert found == argument and type(found) is type(argument)


def test_nan_has_a_spelling_of_its_own() -> None:
    assert encode_argument(math.nan) == {"number": "nan"}
    assert math.isnan(decode_argument({"number": "nan"}))


TERABYTE = 10**12
REFUSED: dict[str, tuple[Description, str]] = {
    "a function outside the list": (network(call("from_file.default", "/etc/passwd")), "from_file.default"),
    "a function in place": (network(call("relu_.default", Value("relu"))), "relu_.default"),
    "a function of Python": (network(call("__import__", "os")), "__import__"),
    "a random function": (network(call("rand_like.default", Value("relu"))), "rand_like"),
    "a value of no call": (network(call("relu.default", Value("nowhere"))), "nowhere"),
    "a loop": (network(call("relu.default", Value("last"))), "no earlier call"),
    "a value of a later call": (
        network(call("relu.default", Value("last"), name="early"), call("relu.default", Value("relu"))),
        "no earlier call",
    ),
    "one name twice": (network(call("relu.default", Value("relu"), name="fc")), "two values"),
    "a call named as an input": (network(call("relu.default", Value("relu"), name="input")), "two values"),
    "a tensor that is not stored": (network(call("mul.Tensor", Value("relu"), Stored("other"))), "not stored"),
    "a path as a call": (network(call("relu.default", Value("relu"), name="../x")), "no name"),
    "a path as a tensor": (network(parameters={"fc.weight": (3, 4), "fc.bias": (3,), "/etc/x": (1,)}), "no name"),
    "a name of control characters": (network(call("relu.default", Value("relu"), name="a\nb")), "no name"),
    "a name without end": (network(call("relu.default", Value("relu"), name="a" * 201)), "no name"),
    "an alias of nothing": (network(tied={"head.weight": "nowhere"}), "ties"),
    "an alias that is stored": (network(tied={"fc.bias": "fc.weight"}), "ties"),
    "a tensor of two kinds": (network(buffers={"fc.bias": Buffer((3,))}), "both"),
    "a type of objects": (network(buffers={"mask": Buffer((3,), "object")}), "type"),
    "a negative size": (network(parameters={"fc.weight": (3, -4), "fc.bias": (3,)}), "negative"),
    "terabytes stored": (network(parameters={"fc.weight": (3, 4), "fc.bias": (3,), "w": (TERABYTE,)}), "larger"),
    "many large tensors": (
        network(parameters={"fc.weight": (3, 4), "fc.bias": (3,), **{f"w{n}": (2**33,) for n in range(9)}}),
        "GiB",
    ),
    "terabytes hidden by an empty axis": (network(buffers={"m": Buffer((0, TERABYTE))}), "larger"),
    "terabytes declared": (network(call("full.default", (TERABYTE,), 1.0, shape=(TERABYTE,))), "larger"),
    "samples on two axes": (network(call("mm.default", Value("fc"), Value("fc"), shape=(Batch(), Batch()))), "samples"),
    "a generator": (network(call("relu.default", Value("relu"), generator=1)), "generator"),
    "an out tensor": (network(call("relu.default", Value("relu"), out=Value("fc"))), "out"),
    "a device": (network(call("full.default", (3,), 1.0, shape=(3,), device="cuda")), "device"),
    "a device as a value": (network(call("relu.default", Value("relu"), Named("device", "cuda"))), "argument"),
    "an unknown type": (network(call("_to_copy.default", Value("relu"), dtype=Named("dtype", "load"))), "argument"),
    "a shape of a size": (network(call("sym_size.int", Value("relu"), 0)), "size"),
    "a call without a shape": (network(call("relu.default", Value("relu"), shape=None)), "no shape"),
    "an output of no call": (network(output="nowhere"), "output"),
    "no input": (network(inputs=()), "no input"),
    "an input of no samples": (network(inputs=(Input("input", (4,)),)), "samples first"),
    "whole numbers without a vocabulary": (network(inputs=(Input("input", (Batch(), 4), "int64"),)), "vocabulary"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_strangers_are_refused(name: str) -> None:
    described, word = REFUSED[name]
    with pytest.raises(IntegrityError) as caught:
        validate(described)
    assert word in caught.value.message and "\n" not in caught.value.message
    with pytest.raises(IntegrityError):
        check(described)


# Forms that look harmless until the calls are followed: more memory, or other shapes, than declared.
LIES: dict[str, tuple[Call, ...]] = {
    "full": (call("full.default", (TERABYTE,), 1.0, shape=(3,)),),
    "zeros": (call("zeros.default", (2**20, 2**20), shape=(3,)),),
    "arange": (call("arange.default", TERABYTE, shape=(3,)),),
    "pad": (call("constant_pad_nd.default", Value("relu"), (0, TERABYTE)),),
    "expand": (call("expand.default", Value("relu"), (TERABYTE, -1, -1)),),
    "repeat": (call("repeat.default", Value("relu"), (1, TERABYTE)),),
    "repeated within": (
        call("reshape.default", Value("relu"), (-1, 3, 1, 1), shape=(Batch(), 3, 1, 1), name="x"),
        call("upsample_nearest2d.default", Value("x"), (2**20, 2**20), shape=(Batch(), 3, 1, 1)),
    ),
    "another shape": (call("relu.default", Value("relu"), shape=(Batch(), 4)),),
    "a size that is no size": (
        call("sym_size.int", Value("relu"), 7, shape=None, name="n"),
        call("reshape.default", Value("relu"), (Value("n"), 3)),
    ),
    "too few arguments": (call("linear.default", Value("relu")),),
    "no such keyword": (call("relu.default", Value("relu"), shell="true"),),
    "too few arguments of dropout": (call("dropout.default", Value("relu")),),
}


@pytest.mark.parametrize("name", LIES)
def test_what_runs_must_be_what_is_declared(name: str) -> None:
    described = network(*LIES[name])
    validate(described)
    with pytest.raises(IntegrityError) as caught:
        check(described)
    assert "\n" not in caught.value.message


def test_what_a_function_makes_on_its_way_is_bounded() -> None:
    wide = 2**16
    described = network(
        call("cosine_similarity.default", Stored("row"), Stored("column"), 0, shape=(wide,)),
        parameters={"fc.weight": (3, 4), "fc.bias": (3,), "row": (1, wide), "column": (wide, 1)},
    )
    with pytest.raises(IntegrityError, match="makes a value of more than"):
        check(described)


def test_values_that_fit_one_by_one_are_bounded_together() -> None:
    """Nine of 2**28 numbers a sample, which are all needed at the end."""
    size = 2**28 // 3
    wide = [call("repeat.default", Value("relu"), (1, size), shape=(Batch(), 3 * size), name=f"w{n}") for n in range(9)]
    sums = [
        call(
            "add.Tensor",
            Value("w0" if n == 1 else f"s{n - 1}"),
            Value(f"w{n}"),
            shape=(Batch(), 3 * size),
            name=f"s{n}",
        )
        for n in range(1, 9)
    ]
    one_by_one = [own for pair in zip(wide[1:], sums, strict=True) for own in pair]
    check(network(wide[0], *one_by_one))
    with pytest.raises(IntegrityError, match="at one time"):
        check(network(*wide, *sums))


def test_symmetries_of_a_strangers_network_end() -> None:
    """Concatenations that double what they read, and a view that is copied without end."""
    doubled = [
        call("cat.default", (Value(f"d{n}" if n else "relu"),) * 2, 1, shape=(Batch(), 6 * 2**n), name=f"d{n + 1}")
        for n in range(22)
    ]
    found = Graph(network(*doubled, call("sum.dim_IntList", Value("d22"), (1,), shape=(Batch(),)))).symmetries
    assert not found.spaces and ("too many summands", 2) in found.pinned
    one = call("reshape.default", Value("relu"), (-1, 3, 1), shape=(Batch(), 3, 1), name="c0")
    copies = [call("clone.default", Value(f"c{n}"), shape=(Batch(), 3, 1), name=f"c{n + 1}") for n in range(3000)]
    assert Graph(network(one, *copies)).symmetries.spaces == ()


def test_too_many_calls_are_refused() -> None:
    calls = tuple(dataclasses.replace(RELU, name=f"relu_{n}") for n in range(100_001))
    with pytest.raises(IntegrityError, match="more than 100000"):
        validate(network(calls=calls))


def _other(change: Callable[[dict[str, Any]], Any]) -> str:
    data = json.loads(network().text)
    change(data)
    return json.dumps(data)


TEXTS: dict[str, tuple[str, str]] = {
    "another version": (_other(lambda data: data.update(version=2)), "version 2"),
    "no version": (_other(lambda data: data.pop("version")), "version None"),
    "no JSON": ("cnid_cli\nx", "no JSON"),
    "a list": ("[1]", "no JSON"),
    "nested without end": ("[" * 100_000, "no JSON"),
    "a bare NaN": (network().text.replace('"version":1', '"version":NaN'), "no JSON"),
    "a key twice": (network().text.replace('"version":1', '"version":1,"version":1'), "no JSON"),
    "more entries": (_other(lambda data: data.update(run="x")), "other entries"),
    "deep arguments": (_other(lambda data: data["calls"][0].update(args=[[[[[[1]]]]]])), "deep"),
    "a huge number": (_other(lambda data: data["calls"][0].update(args=[10**30])), "64 bits"),
    "objects": (_other(lambda data: data["calls"][0].update(args=[{"object": "x"}])), "means nothing"),
    "a shape of text": (_other(lambda data: data["calls"][0].update(shape=["N*N"])), "size"),
    "a name that is none": (_other(lambda data: data["calls"][0].update(name=3)), "no text"),
    "calls that are none": (_other(lambda data: data.update(calls={})), "no list"),
    "a call that is none": (_other(lambda data: data.update(calls=[3])), "right entries"),
    "parameters that are none": (_other(lambda data: data.update(parameters=[])), "no table"),
    "a buffer that is none": (_other(lambda data: data.update(buffers={"x": 3})), "right entries"),
    "too long": (" " * 50_000_001, "MB"),
}


@pytest.mark.parametrize("name", TEXTS)
def test_texts_that_are_no_description_are_refused(name: str) -> None:
    text, word = TEXTS[name]
    with pytest.raises(IntegrityError) as caught:
        Description.from_json(text)
    assert word in caught.value.message and len(caught.value.message) < 200


def test_another_hash_is_refused() -> None:
    with pytest.raises(IntegrityError, match="SHA-256"):
        Description.from_json(network().text, "0" * 64)
