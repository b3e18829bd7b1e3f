"""Requests that may not pass, each answered rightly; and what every answer carries."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

import pytest
from starlette.testclient import TestClient

from nid_cli.web.app import application
from nid_cli.web.desk import Desk
from nid_cli.web.guard import Rules
from tests.conftest import Terminal
from tests.web.conftest import HOME

PATHS = (
    "/",
    "/compare",
    "/running",
    "/group/baseline",
    "/figure/training?group=baseline",
    "/nothing",
    "/static/nid.js",
)


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example:8017", "192.168.1.7", "localhost.", "", "@", "[::1", "[zz]"]
)
def test_a_name_that_is_not_ours_is_refused(site: Any, host: str) -> None:
    for path in PATHS:
        assert site.get(path, headers={"host": host}).status_code == 403


@pytest.mark.parametrize("host", ["127.0.0.1:8017", "localhost:9000", "LOCALHOST", "[::1]:8017"])
def test_names_of_this_machine_are_answered_whatever_port_leads_here(site: Any, host: str) -> None:
    assert site.get("/", headers={"host": host}).status_code == 200


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "http://[", "http://127.0.0.1:1", "http://localhost:8017"]
)
def test_other_origins_are_refused(site: Any, origin: str) -> None:
    assert site.get("/", headers={"origin": origin}).status_code == 403
    assert site.get("/", headers={"origin": HOME}).status_code == 200


def test_what_another_page_embeds_is_refused_and_a_link_from_it_is_not(site: Any) -> None:
    for where in ("cross-site", "same-site"):
        embedded = {"sec-fetch-site": where, "sec-fetch-mode": "no-cors"}
        assert site.get("/draw/training.svg?group=baseline", headers=embedded).status_code == 403
        assert site.get("/", headers={"sec-fetch-site": where, "sec-fetch-mode": "navigate"}).status_code == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
def test_nothing_can_be_written(site: Any, method: str) -> None:
    for path in PATHS:
        answer = site.request(method, path)
        assert answer.status_code == 405 and answer.headers["allow"] == "GET, HEAD"


def test_heads_are_answered_without_bodies(site: Any) -> None:
    for path in (*PATHS, "/draw/training.svg?group=baseline"):
        whole, head = site.get(path), site.head(path)
        assert (head.status_code, head.content) == (whole.status_code, b"")
    assert site.head("/", headers={"host": "evil.example"}).content == b""


def test_every_answer_says_what_may_run(site: Any) -> None:
    for path in (*PATHS, "/draw/training.svg?group=baseline"):
        headers = site.get(path).headers
        assert headers["content-security-policy"].startswith("default-src 'none'")
        assert "unsafe-inline" not in headers["content-security-policy"] or path.startswith("/draw")
        assert headers["x-content-type-options"] == "nosniff" and headers["x-frame-options"] == "DENY"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["cross-origin-resource-policy"] == "same-origin"


def test_pages_hold_no_script_and_no_style_of_their_own(site: Any) -> None:
    for path in PATHS[:-1]:
        text = site.get(path).text
        assert "<style" not in text and " style=" not in text and " onclick" not in text
        assert text.count("<script") == 1 and '<script src="/static/nid.js' in text
        links = [part.split('"')[0] for part in text.split('="/static/')[1:]]
        assert len(links) == 3 and all(site.get(f"/static/{link}").status_code == 200 for link in links)
        assert "http://" not in text and "https://" not in text, "nothing from outside"


@pytest.mark.parametrize(
    "path",
    [
        "/static/../app.py",
        "/static/..%2fapp.py",
        "/static/%2e%2e%2f%2e%2e%2f%2e%2e%2fetc%2fpasswd",
        "/static//etc/passwd",
        "/group/..%2f..%2f..%2fetc%2fpasswd",
        "/draw/..%2f..%2fetc%2fpasswd.svg",
        "/result/..%2fregistry.db",
        "/%00",
        "/group/%ff%fe",
    ],
)
def test_no_path_leads_out(site: Any, path: str) -> None:
    answer = site.get(path)
    assert answer.status_code in (400, 404) and "root:" not in answer.text and "import " not in answer.text


def test_no_address_makes_the_server_read_a_file(own_site: Any, terminal: Terminal) -> None:
    (terminal.folder / "secret.json").write_text('{"schema": "secret"}')
    for name in ("secret.json", "/etc/passwd"):
        answer = own_site.get("/figure/lmc", params={"group": "baseline", "overlay": name})
        assert answer.status_code == 400 and "secret" not in answer.text.replace("secret.json", "")


def test_a_query_of_ten_megabytes_is_too_long(site: Any) -> None:
    sent = []

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "GET", "path": "/", "headers": [(b"host", b"localhost")]}
    asyncio.run(site.app({**scope, "query_string": b"search=" + b"x" * 10_000_000}, None, send))
    assert sent[0]["status"] == 414
    assert site.get("/?" + "&".join(["group=baseline"] * 300)).status_code == 200


@pytest.mark.parametrize(
    "query",
    ["epochs=9;DROP", "kappa=nan", "kappa=x", "symmetry=x", "arch=x", "group=x", "sweep=x", "sort=id", "models=%00"],
)
def test_selectors_that_cannot_be_are_sentences(site: Any, query: str) -> None:
    for path in ("/", "/compare", "/figure/lmc"):
        answer = site.get(f"{path}?{query}")
        assert answer.status_code in (200, 400, 404) and "error in nid itself" not in answer.text
    assert site.get(f"/?{query}").status_code in ((200,) if query.startswith(("epochs", "models")) else (400, 404))


def test_two_hundred_requests_at_once_are_all_answered(site: Any) -> None:
    paths = ["/", "/running", "/group/baseline", "/draw/training.svg?group=baseline"] * 50
    with ThreadPoolExecutor(32) as pool:
        codes = list(pool.map(lambda path: site.get(path).status_code, paths))
    assert codes == [200] * 200


MEAN = "<img src=x onerror=alert(1)>\"'&</title><script>alert(2)</script>"


def test_a_name_full_of_html_is_text(own_site: Any, terminal: Terminal) -> None:
    with closing(sqlite3.connect(terminal.database)) as connection, connection:
        connection.execute("UPDATE groups SET name = ?, note = ? WHERE name = 'baseline'", (MEAN, MEAN))
    listed = own_site.get("/")
    address = next(part.split('"')[0] for part in listed.text.split('href="') if part.startswith("/group/%3Cimg"))
    shown = [
        listed,
        own_site.get(address),
        own_site.get("/compare", params={"group": [MEAN, "mlp-digits-standard"]}),
        own_site.get("/figure/training", params={"group": MEAN}),
        own_site.get("/", params={"search": MEAN}),
        own_site.get("/group/" + MEAN.replace("/", "%2F") + "x"),
    ]
    assert all("&lt;img" in answer.text for answer in shown)
    for answer in (*shown, own_site.get("/slot/training", params={"group": MEAN})):
        assert "<img src=x" not in answer.text and "<script>" not in answer.text
    drawn = own_site.get("/draw/training.svg", params={"group": MEAN})
    assert drawn.status_code == 200 and "<script" not in drawn.text


@pytest.fixture
def guarded(desk: Desk) -> Iterator[Any]:
    """A site for other machines, whose token is ``word``."""
    rules = Rules(names=frozenset({"lab"}), numbers=True, token="word", cookie="nid_token_1")
    with TestClient(application(desk, rules), base_url="http://lab:1") as client:
        yield client


def test_other_machines_need_the_token_once(guarded: Any) -> None:
    for path in (*PATHS, "/?token=", "/?token=wor", "/?token=WORD"):
        answer = guarded.get(path)
        assert answer.status_code == 403 and "baseline" not in answer.text and "set-cookie" not in answer.headers
    first = guarded.get("/?token=word")
    assert first.status_code == 200
    kept = first.headers["set-cookie"]
    assert "HttpOnly" in kept and "SameSite=Strict" in kept and kept.startswith("nid_token_1=word;")
    assert guarded.get("/group/baseline").status_code == 200  # by the cookie
    assert "token=word" not in first.text
    guarded.cookies.clear()
    assert guarded.get("/").status_code == 403


def test_other_machines_are_told_from_names_that_were_made_to_lead_here(guarded: Any) -> None:
    assert guarded.get("/?token=word", headers={"host": "10.0.0.7:1"}).status_code == 200
    assert guarded.get("/?token=word", headers={"host": "evil.example:1"}).status_code == 403
