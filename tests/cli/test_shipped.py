"""The sweeps that come with nid, whole, with networks that train in seconds. ``NID_LONG=1 pytest`` runs them."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from nid_cli.pipeline.sweeps import shipped
from tests.cli.test_sweep import there  # noqa: F401
from tests.conftest import Terminal

DATA = Path(__file__).parents[3] / "shared/data"
# What makes each of them small, in this order.
SMALLER = {
    r'(\[\[train\]\]\n(?:dataset = "mnist"\n)?)(?!dataset)': r"\1epochs = 5\nwidth = 16\ndata = { train-size = 300 }\n",
    r"0:100:5": "0:5:5",
    r"points = 37": "points = 5",
    r'overlay = "paper"\n': "",
    r"neurons = 64": "neurons = 4",
    r'((?:command = "coherence synthetic"|figure = "synthetic")\n)': r"\1copies = 2\nouter-seeds = 1\nnum-pairs = 1\n"
    r"epochs = 1\nwidth = 8\n",
    r"data = \{ k": "data = { samples = 300, test-samples = 50, d = 32, k",
}
LONG = pytest.mark.skipif(not os.environ.get("NID_LONG"), reason="minutes long: NID_LONG=1 runs it")


def small(text: str) -> str:
    """A sweep with everything in ``SMALLER`` replaced."""
    for pattern, replacement in SMALLER.items():
        text = re.sub(pattern, replacement, text)
    return text


@LONG
@pytest.mark.parametrize("name", ["quick", "kappa-digits", "paper-mnist", "prediction-digits", "prediction-mnist"])
def test_a_shipped_sweep_runs_whole(there: Terminal, name: str) -> None:  # noqa: F811
    if name == "paper-mnist" and not (DATA / "MNIST").is_dir():
        pytest.skip("the files of MNIST are not here")
    Path("small.toml").write_text(small(shipped.text_of(name)))
    arguments = ("sweep", "small.toml", *(("--data-dir", str(DATA)) if name == "paper-mnist" else ()))
    first = there.records(*arguments)
    assert {record["status"] for record in first} == {"done"}, first
    again = there.records(*arguments)
    assert {record["status"] for record in again} == {"there"}, again
    assert there("db", "check") == 0


def test_what_makes_them_small_is_in_them() -> None:
    text = "\n".join(shipped.text_of(name) for name in shipped.names())
    for pattern, replacement in SMALLER.items():
        assert re.search(pattern, text), pattern
        text = re.sub(pattern, replacement, text)
