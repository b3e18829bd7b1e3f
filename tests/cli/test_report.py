"""``nid plot report`` through the command line, in this process: what the page says, and that it needs nothing else."""

from __future__ import annotations

import hashlib
import html
import json
import re
import shlex
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from html.parser import HTMLParser
from pathlib import Path

import pytest

from nid_cli.cli.app import run
from nid_cli.plots.inline import inline_svg

GROUPS = ("mlp-digits-standard", "mlp-digits-w-k1")
CHOSEN = " ".join(f"--group {name}" for name in GROUPS)


class Elements(HTMLParser):
    """All elements of a page with their attributes, and its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def values(self, *names: str) -> Iterator[str]:
        """The values of these attributes."""
        for _, attributes in self.found:
            yield from (attributes[name] or "" for name in names if name in attributes)


@pytest.fixture(scope="module")
def folder(lab: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the lab in which two groups have their results of lmc, match, cost and coherence."""
    target = tmp_path_factory.mktemp("report")
    shutil.copytree(lab / ".nid", target / ".nid")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(target)
        for command in ("lmc", "match", "cost", "coherence"):
            assert nid(f"{command} {CHOSEN} --models 1,2") == 0
    return target


def nid(command: str) -> int:
    """One command line, in this process."""
    return run(shlex.split(command))


def written(call: str) -> str:
    assert nid(f"plot report {call} --out page.html") == 0
    return Path("page.html").read_text()


def test_a_page_holds_groups_figures_numbers_and_where_they_come_from(folder: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(folder)
    page = written(f"{CHOSEN} --models 1,2 --json")
    [record] = json.loads(capsys.readouterr().out)["records"]
    elements = Elements(page)
    titles = [a["aria-label"] for tag, a in elements.found if tag == "svg"]
    assert titles == [
        "Training",
        "Connectivity",
        "Barriers",
        "Matching",
        "Swap costs",
        "Distributions of costs",
        "Coherence",
        "Relate",
        *GROUPS,
    ]
    capsys.readouterr()
    assert nid(f"match {CHOSEN} --models 1,2 --json") == 0
    results = json.loads(capsys.readouterr().out)["records"]
    ids = set(elements.values("id"))
    for result in results:
        assert f"result-{result['result_id']}" in ids and result["result_id"] in record["result_ids"]
        assert f"{result['optimal']:.4g}" in elements.text
    for name in GROUPS:
        assert nid(f"group show {name} --json") == 0
        [group] = json.loads(capsys.readouterr().out)["records"]
        said = [group["data_fingerprint"], *(str(m["seeds"]["init"]) for m in group["members"])]
        said += [c["sha256"] for m in group["members"] for c in m["checkpoints"]]
        said += [m["lineage"]["git_commit"] or "no git repository" for m in group["members"]]
        said += [shlex.join(m["lineage"]["command"]) for m in group["members"]]
        assert all(text in elements.text for text in said)
    assert "mlp-digits-syre-k1" not in elements.text
    with closing(sqlite3.connect(folder / ".nid/registry.db")) as database:
        query = "SELECT sha256, result_ids FROM figures WHERE figure = 'report' ORDER BY id DESC"
        sha256, shown = database.execute(query).fetchone()
    assert sha256 == record["sha256"] == hashlib.sha256(page.encode()).hexdigest()
    assert json.loads(shown) == record["result_ids"] and len(set(record["result_ids"])) == len(record["result_ids"])


def test_a_page_needs_nothing_else_and_its_links_and_names_hold(folder: Path, monkeypatch) -> None:
    monkeypatch.chdir(folder)
    elements = Elements(written(f"{CHOSEN} --models 1,2"))
    tags = {tag for tag, _ in elements.found}
    assert not tags & {"script", "link", "iframe", "object", "embed", "img", "base", "form", "foreignobject"}
    assert not [name for _, attributes in elements.found for name in attributes if name.startswith("on")]
    ids = list(elements.values("id"))
    assert len(ids) == len(set(ids))
    referred = list(elements.values("href", "xlink:href", "src"))
    assert referred and all(r.startswith(("#", "data:image/png;base64,")) for r in referred)
    inside = {r[1:] for r in referred if r.startswith("#")}
    styled = {name for _, own in elements.found for v in own.values() for name in re.findall(r"url\(#(.*?)\)", v or "")}
    assert styled and inside | styled <= set(ids)
    assert "url(" not in Path("page.html").read_text().partition("</style>")[0] and "@import" not in elements.text


def test_missing_results_are_named_by_commands_that_make_them(folder: Path, monkeypatch) -> None:
    monkeypatch.chdir(folder)
    selection = f"{CHOSEN} --group mlp-digits-syre-k1 --models 1,2"
    page = html.unescape(written(f"{selection}"))
    assert page.count("Without mlp-digits-syre-k1: ") == 6 and "Not drawn: " in page
    section = page.partition('id="coherence"')[2].partition("<figure>")[0]
    command = section.partition("<pre>")[2].partition("</pre>")[0]
    assert command.startswith("nid coherence ") and nid(command.removeprefix("nid ")) == 0
    again = html.unescape(written(f"{selection}"))
    section = again.partition('id="coherence"')[2].partition("<figure>")[0]
    assert "Without" not in section and again.count("Without mlp-digits-syre-k1: ") == 5
    assert nid(f"plot report {CHOSEN} --models 1,2 --points 2 --layers 0 --compute --out page.html") == 0
    assert "Not drawn" not in Path("page.html").read_text().partition('id="each"')[0]


def test_the_same_results_give_the_same_bytes(folder: Path, monkeypatch) -> None:
    monkeypatch.chdir(folder)
    assert len({written(f"{CHOSEN} --models 1,2") for _ in range(2)}) == 1


def test_names_and_notes_are_text(folder: Path, tmp_path: Path, monkeypatch) -> None:
    """Also in somebody else's registry, where names may be anything."""
    shutil.copytree(folder / ".nid", tmp_path / ".nid")
    monkeypatch.chdir(tmp_path)
    evil = "<script>alert(1)</script>\"'><img src=http://x onerror=alert(1)>$\\bad$\x1b\u202e</svg>"
    with closing(sqlite3.connect(".nid/registry.db")) as database:
        database.execute("UPDATE groups SET name = ?, note = ? WHERE symmetry = 'w'", (evil, evil + "--><!--"))
        database.execute("UPDATE models SET source_path = ?", (evil,))
        database.execute("UPDATE checkpoints SET path = ? || id", (evil,))
        database.execute("UPDATE invocations SET argv = ?, git_commit = ?", (json.dumps(["nid", evil]), evil))
        database.commit()
    page = written("--symmetry w --symmetry standard --models 1,2")
    elements = Elements(page)
    assert evil.replace("\x1b", "\ufffd").replace("\u202e", "\ufffd") in [
        attributes.get("aria-label") for tag, attributes in elements.found if tag == "svg"
    ]
    assert not {tag for tag, _ in elements.found} & {"script", "img"} and "\x1b" not in page and "\u202e" not in page
    assert elements.text.count("<script>alert(1)</script>") > 8 and "onerror" not in "".join(elements.values("href"))
    assert not [name for _, attributes in elements.found for name in attributes if name.startswith("on")]


@pytest.mark.parametrize(
    ("call", "code"),
    [
        ("--out page.pdf", 2),
        ("--out no/such/page.html", 2),
        ("--out a.html --models one", 2),
        ("--out a.html --symmetry nothing", 2),
        ("--out a.html --group nobody", 3),
        ("--out a.html --models 77", 3),
    ],
)
def test_bad_requests_write_nothing(call: str, code: int, folder: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(folder)
    assert nid(f"plot report {call}") == code and not Path("a.html").exists() and not Path("page.pdf").exists()
    assert "nid itself" not in capsys.readouterr().err


def test_inlined_names_are_apart_and_references_follow() -> None:
    svg = b"""<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink">
    <metadata>m</metadata><!-- <b> --><defs><style>*{fill: red}</style><path id="a"/><path id="a"/></defs>
    <g id="g" clip-path="url(#a)" style="fill: url(#a); mask: url(#h)"><use id="h" xlink:href="#a"/></g>
    <image id="i" xlink:href="data:image/png;base64,AA"/><image id="i"/></svg>"""
    text = inline_svg(svg, "one-", 'a "title"')
    assert re.findall('id="(.*?)"', text) == ["one-a", "one-h"]
    assert 'clip-path="url(#one-a)"' in text and 'xlink:href="#one-a"' in text
    assert "fill: url(#one-a); mask: url(#one-h)" in text and 'xlink:href="data:image/png;base64,AA"' in text
    assert not any(gone in text for gone in ("metadata", "style>", "<!--", "fill: red", "<?xml"))
    assert 'aria-label="a &quot;title&quot;"' in text and text.startswith("<svg ")
