"""The grammar's entropy against enumeration and samples, and its sentences against an independent description."""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
import torch

from nid_cli.data.catalog import measures_of, resolve_parameters
from nid_cli.data.grammar import ALPHABET, START, automaton, bigram_floor, entropy_floor, rows
from nid_cli.data.load import load
from nid_cli.data.sentences import sample
from nid_cli.errors import UsageError
from nid_cli.specs import DataSpec, Measures


def texts(count: int, length: int, seed: int = 0) -> list[str]:
    return ["".join(ALPHABET[c] for c in row) for row in sample(count, length, seed).tolist()]


def written(place: str, length: int) -> Iterator[tuple[str, float]]:
    """All ways, word by word, in which at least ``length`` characters may go on, with their probabilities."""
    if length <= 0:
        yield "", 1.0
        return
    choices = [(word, w, then) for own, (words, w, then) in rows() if own == place for word in words]
    total = sum(weight for _, weight, _ in choices)
    for word, weight, then in choices:
        own = word + ("." if then == START else " ")
        for rest, probability in written(then, length - len(own)):
            yield own + rest, probability * weight / total


def strings(length: int) -> Counter[str]:
    """Probabilities of all strings of ``length`` characters from a sentence's start on."""
    found: Counter[str] = Counter()
    for text, probability in written(START, length):
        found[text[:length]] += probability
    return found


def entropy(probabilities: Counter[str]) -> float:
    return -sum(p * math.log(p) for p in probabilities.values())


@pytest.mark.parametrize("length", [1, 2, 7, 16, 21])
def test_the_floor_is_the_entropy_of_all_strings_by_the_chain_rule(length: int) -> None:
    joint = strings(length + 1)
    assert math.isclose(sum(joint.values()), 1)
    expected = (entropy(joint) - entropy(strings(1))) / length
    assert math.isclose(entropy_floor({"length": length}), expected, rel_tol=1e-9)
    pairs: Counter[str] = Counter()
    firsts: Counter[str] = Counter()
    for text, probability in joint.items():
        for one, other in pairwise(text):
            pairs[one + other] += probability / length
            firsts[one] += probability / length
    assert math.isclose(bigram_floor({"length": length}), entropy(pairs) - entropy(firsts), rel_tol=1e-9)


def test_samples_cost_what_the_floor_says() -> None:
    length, drawn = 48, sample(6000, 49, seed=5)
    states = [{arc.character: (arc.weight, arc.target) for arc in arcs} for arcs in automaton()]
    totals = [sum(weight for weight, _ in own.values()) for own in states]
    costs = []
    for row in drawn.tolist():
        state, cost = states[0][row[0]][1], 0.0
        for character in row[1:]:
            weight, target = states[state][character]
            cost -= math.log(weight / totals[state])
            state = target
        costs.append(cost / length)
    mean, error = torch.tensor(costs).mean(), torch.tensor(costs).std() / math.sqrt(len(costs))
    assert abs(mean - entropy_floor({"length": length})) < 4 * error and error < 0.002


def test_bigrams_do_not_suffice() -> None:
    parameters = resolve_parameters("grammar", {})
    assert bigram_floor(parameters) > 3 * entropy_floor(parameters) > 1
    counts: defaultdict[int, Counter[int]] = defaultdict(Counter)
    for row in sample(6000, 49, seed=6).tolist():
        for one, other in pairwise(row):
            counts[one][other] += 1
    total = sum(own.total() for own in counts.values())
    seen = -sum(n * math.log(n / own.total()) for own in counts.values() for n in own.values()) / total
    assert abs(seen - bigram_floor(parameters)) < 0.01


ADJECTIVES = "(?:(?:tall|young|quiet|brave|lazy) )*"
ONE = f"(?:a|the) {ADJECTIVES}(?:dog|cat|fox|girl|boy|king)"
MANY = f"(?:some|the) {ADJECTIVES}(?:dogs|cats|foxes|girls|boys|kings)"
DOES, DO = "(?:sees|joins|helps|follows)", "(?:see|join|help|follow)"


def sentence(subject: str, verb: str) -> str:
    clause = f" that (?:{verb} (?:{ONE}|{MANY})|{ONE} {DOES}|{MANY} {DO})"
    return rf"{subject}(?:{clause})? {verb} (?:{ONE}|{MANY})\."


def test_all_sentences_are_grammatical() -> None:
    grammatical = re.compile(f"{sentence(ONE, DOES)}|{sentence(MANY, DO)}")
    found = [text for row in texts(300, 400) for text in re.findall(r"[^.]*\.", row)]
    assert len(found) > 2000 and [text for text in found if not grammatical.fullmatch(text)] == []
    assert 0.45 < sum(" that " in text for text in found) / len(found) < 0.55
    apart = [text for text in found if re.match(rf"{ONE} that {MANY} {DO} {DOES}", text)]
    assert len(apart) > 50  # the verb agrees with a noun behind another one
    assert not grammatical.fullmatch("a dog that the cats see follow a king.")
    assert {character for text in found for character in text} == set(ALPHABET)


def test_states_follow_from_the_characters() -> None:
    assert all(len({arc.character for arc in arcs}) == len(arcs) > 0 for arcs in automaton())
    places: defaultdict[str, list[str]] = defaultdict(list)
    for place, (words, _, _) in rows():
        places[place] += words
    assert all(len(set(words)) == len(words) for words in places.values())


def test_each_position_is_asked_for_the_next_character() -> None:
    parameters = resolve_parameters("grammar", {"samples": 50, "test-samples": 7, "length": 20})
    data = load("grammar", parameters, Path("/nonexistent"))
    assert [len(data.split(name)) for name in ("train", "val", "test")] == [45, 5, 7]
    for name in ("train", "val", "test"):
        split = data.split(name)
        assert split.inputs.dtype == split.targets.dtype == torch.int64 and split.inputs.shape[1:] == (20,)
        assert torch.equal(split.inputs[:, 1:], split.targets[:, :-1])
    assert torch.equal(data.test.inputs, sample(7, 21, seed=456)[:, :-1])
    spec = DataSpec(name="grammar", parameters=parameters)
    assert measures_of(spec) == Measures((20,), 28, "positions", vocabulary=28, positions=20)
    again = load("grammar", parameters, Path("/nonexistent"))
    other = load("grammar", parameters | {"train_seed": 1}, Path("/nonexistent"))
    assert again.fingerprint() == data.fingerprint() != other.fingerprint()
    assert not torch.equal(other.train.inputs, data.train.inputs) and torch.equal(other.test.inputs, data.test.inputs)


@pytest.mark.parametrize("given", [{"length": 0}, {"length": 5000}, {"samples": 3}, {"length": 2.5}, {"words": 3}])
def test_sentences_that_cannot_be_are_refused(given: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        resolve_parameters("grammar", given)
