"""A small grammar of English sentences, as an automaton over characters whose entropy is known. No torch.

A sentence is a subject, a verb and an object, ended by a full stop; the subject may have a relative clause. Determiners
agree with nouns, and verbs with their own subjects: the main verb with a noun that the clause has put out of sight.

The automaton is *unifilar*: its state follows from the characters so far. A character's entropy, given all before it,
is thus that of its state, and the least mean cross-entropy of any model is a sum over states.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping
from functools import cache
from typing import NamedTuple

# What the numbers of a sample name.
ALPHABET = " .abcdefghijklmnopqrstuvwxyz"

START = "start"
DETERMINERS = {"singular": ("a",), "plural": ("some",), "either": ("the",)}
ADJECTIVES = ("tall", "young", "quiet", "brave", "lazy")
NOUNS = {
    "singular": ("dog", "cat", "fox", "girl", "boy", "king"),
    "plural": ("dogs", "cats", "foxes", "girls", "boys", "kings"),
}
VERBS = {
    "singular": ("sees", "joins", "helps", "follows"),
    "plural": ("see", "join", "help", "follow"),
}

# Words, the weight of each, and the place in the sentence that follows.
Row = tuple[tuple[str, ...], int, str]


def _phrase(place: str, following: Mapping[str, str]) -> Iterator[tuple[str, Row]]:
    """A determiner, adjectives, and a noun of either number, after which its number's place follows."""
    for seen, words in DETERMINERS.items():
        yield place, (words, 1, f"{place}.{seen}")
        yield f"{place}.{seen}", (ADJECTIVES, 2, f"{place}.{seen}")
        for number, nouns in NOUNS.items():
            if seen in (number, "either"):
                yield f"{place}.{seen}", (nouns, 2 if seen == "either" else 4, following[number])


def rows() -> Iterator[tuple[str, Row]]:
    """Each place with what may stand there."""
    yield from _phrase(START, {number: f"subject.{number}" for number in NOUNS})
    yield from _phrase("object", dict.fromkeys(NOUNS, START))
    for number, verbs in VERBS.items():
        subject, clause, main = (f"{part}.{number}" for part in ("subject", "clause", "main"))
        yield subject, (verbs, 1, "object")
        yield subject, (("that",), 4, clause)
        yield clause, (verbs, 1, f"{clause}.object")
        yield from _phrase(f"{clause}.object", dict.fromkeys(NOUNS, main))
        yield from _phrase(clause, {inner: f"{clause}.{inner}.verb" for inner in NOUNS})
        for inner, others in VERBS.items():
            yield f"{clause}.{inner}.verb", (others, 1, main)
        yield main, (verbs, 1, "object")


class Arc(NamedTuple):
    """A character that may come next: its share of the state's ``weight`` is its probability."""

    character: int
    weight: int
    target: int


@cache
def automaton() -> tuple[tuple[Arc, ...], ...]:
    """For each state its arcs, by character; state 0 is the start of a sentence.

    A state is a place of the sentence and the beginning of a word there. Words end in a blank, the last one in a full
    stop.
    """
    places: dict[str, dict[str, tuple[int, str]]] = defaultdict(dict)
    for place, (words, weight, following) in rows():
        for word in words:
            places[place][word + ("." if following == START else " ")] = weight, following
    order = [(START, "")]
    index = {order[0]: 0}
    states = []
    for place, prefix in order:  # grows as new states come into sight
        weights: dict[str, int] = defaultdict(int)
        targets: dict[str, tuple[str, str]] = {}
        for text, (weight, following) in places[place].items():
            if text.startswith(prefix):
                longer = text[: len(prefix) + 1]
                weights[longer[-1]] += weight
                targets[longer[-1]] = (following, "") if longer == text else (place, longer)
        for target in targets.values():
            if target not in index:
                index[target] = len(order)
                order.append(target)
        arcs = (Arc(ALPHABET.index(c), weights[c], index[targets[c]]) for c in sorted(weights))
        states.append(tuple(arcs))
    return tuple(states)


def _reached(length: int) -> Iterator[dict[int, float]]:
    """Probabilities of the states after 1, 2, ... ``length`` characters."""
    now = {0: 1.0}
    for _ in range(length):
        after: dict[int, float] = defaultdict(float)
        for state, probability in now.items():
            arcs = automaton()[state]
            total = sum(arc.weight for arc in arcs)
            for arc in arcs:
                after[arc.target] += probability * arc.weight / total
        yield after
        now = after


def _entropy(weights: list[float]) -> float:
    """Of a distribution that is proportional to ``weights``, times their sum; in nats."""
    total = sum(weights)
    return -sum(weight * math.log(weight / total) for weight in weights if weight)


def entropy_floor(parameters: Mapping[str, int | float]) -> float:
    """The least mean cross-entropy, over all positions of a sample, that a model can have: nats a character.

    (1 / T) sum_t sum_s P(s after t characters) H(next character | s), t = 1..T, T = ``length``.
    """
    length = int(parameters["length"])
    of_state = [_entropy([arc.weight for arc in arcs]) / sum(arc.weight for arc in arcs) for arcs in automaton()]
    return sum(p * of_state[state] for now in _reached(length) for state, p in now.items()) / length


def bigram_floor(parameters: Mapping[str, int | float]) -> float:
    """The least mean cross-entropy of models that see the last character alone: nats a character."""
    length = int(parameters["length"])
    joint: dict[int, dict[int, float]] = defaultdict(lambda: defaultdict(float))
    for now in ({0: 1.0}, *_reached(length - 1)):
        for state, probability in now.items():
            total = sum(arc.weight for arc in automaton()[state])
            for arc in automaton()[state]:
                others = automaton()[arc.target]
                share = probability * arc.weight / total / sum(other.weight for other in others)
                for other in others:
                    joint[arc.character][other.character] += share * other.weight
    return sum(_entropy(list(row.values())) for row in joint.values()) / length
