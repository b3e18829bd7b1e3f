import pytest
from hypothesis import given
from hypothesis import strategies as st

from nid_cli.errors import NotFoundError, UsageError
from nid_cli.specs.selection import parse_epochs, parse_numbers, parse_pairs


def test_numbers() -> None:
    assert parse_numbers("1,2,5-8", "models") == [1, 2, 5, 6, 7, 8] and parse_numbers("3,1,3", "models") == [1, 3]
    for text in ("", "a", "1-", "8-5", "1;2", "1-999999999", "-1"):
        with pytest.raises(UsageError):
            parse_numbers(text, "models")


def test_epochs() -> None:
    there = [0, 5, 10, 15]
    assert parse_epochs("last", there) == [15] and parse_epochs("all", there) == there
    assert parse_epochs("10,0", there) == [0, 10] and parse_epochs("0:12:5", there) == [0, 5, 10]
    with pytest.raises(NotFoundError):
        parse_epochs("7", there)
    with pytest.raises(NotFoundError):
        parse_epochs("1:4", there)
    for text in ("first", "5:", "5:1", "0:5:0", ""):
        with pytest.raises(UsageError):
            parse_epochs(text, there)


@given(st.integers(0, 9))
def test_all_pairs_are_all_and_odd_numbers_are_no_problem(count: int) -> None:
    numbers = list(range(1, count + 1))
    assert len(parse_pairs("all", numbers)) == count * (count - 1) // 2
    assert len(parse_pairs("disjoint", numbers)) == count // 2


def test_named_pairs() -> None:
    assert parse_pairs("1-2,3-1,1-2", [1, 2, 3]) == [(1, 2), (3, 1)]
    with pytest.raises(NotFoundError):
        parse_pairs("1-4", [1, 2, 3])
    with pytest.raises(UsageError):
        parse_pairs("1,2", [1, 2, 3])
