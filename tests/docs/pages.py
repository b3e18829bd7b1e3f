"""The README and the pages of docs/ as data: their command lines, Python, links, and paths."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
FENCE = "```"

# What stands around `nid` in a block does nothing here, and no other program is found. `nid` writes its arguments to
# descriptor 3, each ended by one separator and each call by another; `>` has become an argument of its own.
SHELL = r"""
set -eu; PATH=; python3() { :; }; pip() { :; }; pytest() { :; }; .() { :; }
nid() { for a in "$@"; do printf '%s\037' "$a" >&3; done; printf '\036' >&3; }
"""


@dataclass(frozen=True)
class Part:
    """A block or an inline span: ``kind`` is the fence's language, or ``span``; ``line`` counts from 1."""

    kind: str
    text: str
    line: int


def parts(text: str) -> Iterator[Part]:
    """The fenced blocks of a page, and the spans that begin with ``nid``, in order."""
    kind, block, start = "", [], 0
    for number, line in enumerate(text.splitlines(), 1):
        if line.startswith(FENCE):
            if kind:
                yield Part(kind, "\n".join(block), start)
            kind, block, start = ("" if kind else line.removeprefix(FENCE)), [], number + 1
        elif kind:
            block.append(line)
        else:
            yield from (Part("span", span, number) for span in re.findall(r"`(nid [^`]+)`", line))


def calls(shell: str) -> list[list[str]]:
    """The arguments of each call of ``nid`` as bash understands them: loops, ``&&``, quotes and comments."""
    told, heard = os.pipe()
    script = "\n".join((f"exec 3>&{heard}", SHELL, shell.replace(" > ", " '>' ")))
    try:
        done = subprocess.run(["bash", "-c", script], pass_fds=(heard,), capture_output=True, text=True)
    finally:
        os.close(heard)
    with os.fdopen(told) as pipe:
        said = pipe.read()
    assert done.returncode == 0, f"{shell}\n{done.stderr}"
    return [call.split("\037")[:-1] for call in said.split("\036")[:-1]]


def links(text: str) -> list[str]:
    """Targets of links and images within the project."""
    found = re.findall(r"\]\(([^)\s]+)\)", text)
    return [target for target in found if not re.match(r"[a-z]+:", target)]


def anchors(text: str) -> set[str]:
    """What a forge calls the headings of a page."""
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def paths(text: str) -> list[str]:
    """Spans that name files or folders of the project."""
    return re.findall(r"`((?:nid_cli|tests|docs|migrations|\.ci)/[\w./-]*)`", text)
