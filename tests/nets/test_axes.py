"""Joining axes, and permuting along trees, against implementations that go position by position."""

from __future__ import annotations

import itertools
from math import prod

import torch
from hypothesis import given
from hypothesis import strategies as st

from nid_cli.nets.atoms import PRODUCT, Atom, find, join, leaf_atoms, pin, product, terms, total
from nid_cli.nets.axes import Leaf, Pinned, Product, Sum, Tree
from nid_cli.nets.permutation import Permutation, axis_index, compose, identity, inverse, permute, random
from nid_cli.nets.spaces import Space
from nid_cli.nets.tracing import fresh, regroup


def drawn(atom: Atom, seed: int) -> list[int]:
    """The positions that an axis takes from, with a permutation for each free atom, position by position."""
    atom = find(atom)
    if not atom.parts:
        if atom.reason:
            return list(range(atom.size))
        generator = torch.Generator().manual_seed(seed + id(atom) % 100_003)
        return torch.randperm(atom.size, generator=generator).tolist()
    found = [0] if atom.kind == PRODUCT else []
    for part in atom.parts:
        own = drawn(part, seed)
        found = (
            [i * len(own) + j for i in found for j in own]
            if atom.kind == PRODUCT
            else [*found, *(len(found) + j for j in own)]
        )
    return found


@st.composite
def atoms(draw: st.DrawFn, size: int, depth: int = 2) -> Atom:
    """An axis of ``size``, as a random product or sum of others."""
    kind = draw(st.sampled_from(["leaf", "product", "sum"])) if depth and size > 1 else "leaf"
    divisors = [n for n in range(2, size) if size % n == 0]
    if kind == "product" and divisors:
        first = draw(st.sampled_from(divisors))
        return product([draw(atoms(first, depth - 1)), draw(atoms(size // first, depth - 1))])
    if kind == "sum":
        first = draw(st.integers(1, size - 1))
        return total([draw(atoms(first, depth - 1)), draw(atoms(size - first, depth - 1))])
    return Atom(size, draw(st.sampled_from([None, None, None, "given"])))


@given(st.data(), st.sampled_from([6, 8, 12, 24]))
def test_joined_axes_are_moved_alike(data: st.DataObject, size: int) -> None:
    axes = [data.draw(atoms(size)) for _ in range(3)]
    kept = [[(leaf, leaf.reason) for leaf in leaf_atoms(axis)] for axis in axes]
    join(axes[0], axes[1])
    join(axes[2], axes[0])
    assert drawn(axes[0], 1) == drawn(axes[1], 1) == drawn(axes[2], 1)
    # What was pinned stays so; parts of one position have none to move to.
    pinned = [part for own in kept for leaf, reason in own if reason for part in leaf_atoms(leaf)]
    assert all(part.reason or part.size == 1 for part in pinned)


@given(
    st.sampled_from([((2, 12), (4, 6)), ((24,), (2, 3, 4)), ((2, 3, 4), (6, 4)), ((4, 1, 6), (24,)), ((8, 3), (2, 12))])
)
def test_a_reshape_of_permuted_is_permuted_of_the_reshape(shapes: tuple[tuple[int, ...], tuple[int, ...]]) -> None:
    before, after = shapes
    axes = fresh(before)
    new = regroup(axes, after)
    numbers = torch.arange(prod(before))

    def moved(tensor: torch.Tensor, along: tuple[Atom, ...]) -> torch.Tensor:
        for dim, axis in enumerate(along):
            tensor = tensor.index_select(dim, torch.tensor(drawn(axis, 3)))
        return tensor

    assert torch.equal(moved(numbers.view(before), axes).view(after), moved(numbers.view(after), new))


def test_products_and_sums_have_their_common_refinement() -> None:
    whole = Atom(24)
    join(whole, total([Atom(6), Atom(18)]))
    join(whole, product([Atom(4), Atom(6)]))
    assert [term.size for term in terms(whole)] == [24]
    heads, own = find(whole).parts
    assert [term.size for term in terms(heads)] == [1, 3]
    assert own.size == 6 and not own.reason
    a, b = total([Atom(2), Atom(6)]), total([Atom(5), Atom(3)])
    join(a, b)
    assert [leaf.size for leaf in leaf_atoms(a)] == [leaf.size for leaf in leaf_atoms(b)] == [2, 3, 3]


def test_what_has_no_common_refinement_is_pinned() -> None:
    for a, b in (
        (product([Atom(4), Atom(6)]), product([Atom(6), Atom(4)])),
        (product([Atom(3), Atom(4)]), total([Atom(6), Atom(6)])),
    ):
        join(a, b)
        assert all(leaf.reason for axis in (a, b) for leaf in leaf_atoms(axis))
    leaf = Atom(6)
    pin(leaf, "first")
    join(Atom(6), leaf)
    pin(leaf, "second")
    assert find(leaf).reason == "first"


# Trees: h outer of i; p, q apart.
SIZES = {"h": 3, "i": 2, "p": 4, "q": 2}
SPACES = [
    Space(name=name, label=name, size=size, depends_on="h" if name == "i" else None, places=())
    for name, size in SIZES.items()
]
H, IN, P, Q = (Leaf(name, size, "h" if name == "i" else None) for name, size in SIZES.items())
AXES: list[tuple[Tree, ...]] = [
    (P,),
    (Product((H, IN)), Q),
    (Product((IN, Pinned(2), H)),),
    (H, P, IN),
    (Sum((Product((H, IN)), P, Product((IN, H)), Pinned(2))), Q),
    (Product((H, Sum((IN, IN, Q)))), Product((P, Q))),
    (Sum((Product((H, Pinned(2))), H)), Sum((IN, IN))),
    (Pinned(2), Q, Q),
]


def places(tree: Tree, position: int) -> dict[str, int]:
    """The position of each space that a position of an axis belongs to."""
    match tree:
        case Leaf(space=space):
            return {space: position}
        case Product(parts):
            found: dict[str, int] = {}
            for part in reversed(parts):
                position, own = divmod(position, part.size)
                found |= places(part, own)
            return found
        case Sum(parts):
            for part in parts:
                if position < part.size:
                    return places(part, position)
                position -= part.size
    return {}


def moved(tree: Tree, position: int, belongs: dict[str, int], permutation: Permutation) -> int:
    """The position that takes this one's place."""
    match tree:
        case Leaf(space=space, outer=None):
            return int(permutation[space][position])
        case Leaf(space=space, outer=outer):
            return int(permutation[space][belongs[str(outer)], position])
        case Product(parts):
            sizes = [part.size for part in parts]
            digits = list(itertools.product(*map(range, sizes)))[position]
            new = [moved(part, digit, belongs, permutation) for part, digit in zip(parts, digits, strict=True)]
            return list(itertools.product(*map(range, sizes))).index(tuple(new))
        case Sum(parts):
            start = 0
            for part in parts:
                if position < start + part.size:
                    return start + moved(part, position - start, belongs, permutation)
                start += part.size
    return position


@given(st.sampled_from(AXES), st.integers(0, 5))
def test_tensors_are_permuted_as_position_by_position(axes: tuple[Tree, ...], seed: int) -> None:
    permutation = random(SPACES, torch.Generator().manual_seed(seed))
    tensor = torch.randn([tree.size for tree in axes])
    found = permute({"w": axes}, {"w": tensor, "other": tensor}, permutation)
    for index in itertools.product(*(range(tree.size) for tree in axes)):
        belongs = {
            space: at
            for tree, position in zip(axes, index, strict=True)
            for space, at in places(tree, position).items()
        }
        source = tuple(moved(tree, position, belongs, permutation) for tree, position in zip(axes, index, strict=True))
        assert found["w"][index] == tensor[source]
    assert found["other"] is tensor


@given(st.sampled_from(AXES), st.integers(0, 5))
def test_permutations_are_undone_and_composed(axes: tuple[Tree, ...], seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    first, then = random(SPACES, generator), random(SPACES, generator)
    tensor = {"w": torch.randn([tree.size for tree in axes])}
    once = permute({"w": axes}, tensor, first)
    assert torch.equal(permute({"w": axes}, once, inverse(SPACES, first))["w"], tensor["w"])
    twice = permute({"w": axes}, once, then)["w"]
    assert torch.equal(permute({"w": axes}, tensor, compose(SPACES, first, then))["w"], twice)
    assert torch.equal(permute({"w": axes}, tensor, identity(SPACES))["w"], tensor["w"])


def test_the_index_of_an_axis() -> None:
    permutation = random(SPACES, torch.Generator().manual_seed(0))
    assert axis_index(P, permutation) is permutation["p"]
    assert axis_index(IN, permutation) is None
    assert (axis_index(Pinned(3), permutation) == torch.arange(3)).all()  # type: ignore[union-attr]
    index = axis_index(Sum((P, Pinned(1), Q)), permutation)
    assert index is not None
    assert index.tolist() == [*permutation["p"].tolist(), 4, *(5 + permutation["q"]).tolist()]
