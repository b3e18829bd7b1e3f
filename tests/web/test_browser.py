"""The pages in a real browser, headless: what its reader does, and what it says while a training runs."""

from __future__ import annotations

import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.web.conftest import Server

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """One Chromium for all tests of this file."""
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def folder(still: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A registry of this file's own."""
    target = tmp_path_factory.mktemp("browser") / "lab"
    shutil.copytree(still.parent, target / ".nid")
    return target


@pytest.fixture(scope="module", autouse=True)
def training(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, subprocess.Popen[bytes]]]:
    """A training without an end, in a registry of its own; it starts while other tests go on."""
    folder = tmp_path_factory.mktemp("training")
    words = ["train", "--symmetry", "w", "--kappa", "3", "--width", "8", "--epochs", "100000", "--seeds", "1"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen([sys.executable, "-m", "nid_cli", *words, "--workers", "1"], cwd=folder, **quiet)
    yield folder, process
    process.kill()
    process.wait()


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[Server]:
    """A server on it."""
    started = Server(folder, "--port", "0")
    yield started
    started.end()


@pytest.fixture
def open_page(browser: Any) -> Iterator[Callable[..., Any]]:
    """Opens windows; whatever a page complains of fails the test."""
    contexts, complaints = [], []

    def open_one(address: str, width: int = 1200, **given: Any) -> Any:
        context = browser.new_context(viewport={"width": width, "height": 800}, **given)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)
        page.goto(address)
        return page

    yield open_one
    for context in contexts:
        context.close()
    # A server that is killed, and a group that is not there, are meant.
    assert [own for own in complaints if "net::ERR_" not in own and "404 (Not Found)" not in own] == []


def until(holds: Callable[[], Any], seconds: float = 20) -> None:
    """Waits until something holds. (Pages forbid what Playwright's own waiting needs.)"""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.05)


def listed(page: Any) -> list[str]:
    """The groups in a list."""
    return page.locator("#groups tbody a.open").all_inner_texts()


def test_every_page_fits_narrow_and_wide_windows_in_light_and_dark(server: Server, open_page: Any) -> None:
    with closing(sqlite3.connect(Path(server.folder) / ".nid/registry.db")) as connection:
        result_id = connection.execute("SELECT result_id FROM results WHERE kind = 'lmc'").fetchone()[0]
    paths = ("", "group/baseline", "compare?symmetry=w&symmetry=standard", "running", f"result/{result_id}")
    for width, scheme in ((400, "dark"), (2000, "light")):
        page = open_page(server.address, width, color_scheme=scheme)
        for path in (*paths, "figure/training?group=baseline", "group/nothing"):
            page.goto(server.address + path)
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), (width, path)
            assert page.locator("h1").count() == 1 and page.locator("img:not([alt])").count() == 0
            ground, *inks = page.evaluate(
                """[getComputedStyle(document.documentElement).backgroundColor,
                    ...["html", ".soft, dt, thead th, .place, .state", "main a:not(.button)"].flatMap(
                        (all) => [...document.querySelectorAll(all)].map((own) => getComputedStyle(own).color))]"""
            )
            assert inks and min(contrast(ground, ink) for ink in set(inks)) >= 4.5, (scheme, path)


def contrast(one: str, other: str) -> float:
    """The ratio of two CSS colours (WCAG 2)."""

    def light(color: str) -> float:
        parts = [int(part) / 255 for part in color[color.index("(") + 1 : -1].split(",")[:3]]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))

    low, high = sorted((light(one), light(other)))
    return (high + 0.05) / (low + 0.05)


def test_filters_are_the_address_and_back_and_forward_go_through_them(server: Server, open_page: Any) -> None:
    page = open_page(server.address)
    whole = listed(page)
    page.locator(".filters a", has_text="w").first.click()
    assert page.url.endswith("/?symmetry=w") and listed(page) == ["baseline"]
    page.locator(".filters a", has_text="syre").click()
    assert set(listed(page)) == {"baseline", "mlp-digits-syre-k1"}
    shared = open_page(page.url)
    assert listed(shared) == listed(page)
    page.go_back()
    assert listed(page) == ["baseline"]
    page.go_back()
    assert listed(page) == whole
    page.go_forward()
    assert listed(page) == ["baseline"]
    page.locator("#groups thead a", has_text="name").click()
    assert "symmetry=w" in page.url and "sort=" in page.url


def test_without_scripts_everything_can_be_reached(server: Server, open_page: Any) -> None:
    for width in (400, 1200):
        page = open_page(server.address, width, java_script_enabled=False)
        page.locator(".filters a", has_text="w").first.click()
        assert page.url.endswith("/?symmetry=w") and listed(page) == ["baseline"]
        page.locator("#groups a.open").click()
        page.locator(".frame a").first.click()
        assert "/figure/training" in page.url and page.locator("main img").count() == 1
        assert page.locator(".copy").first.is_hidden()


def test_the_keyboard_searches_moves_chooses_and_opens(server: Server, open_page: Any) -> None:
    page = open_page(server.address)
    page.keyboard.press("/")
    page.keyboard.type("syre")
    page.keyboard.press("Enter")
    page.wait_for_url("**search=syre**")
    assert listed(page) == ["mlp-digits-syre-k1"]
    page.go_back()
    rows = listed(page)
    page.keyboard.press("j")
    page.keyboard.press("ArrowDown")
    assert page.evaluate("document.activeElement.innerText") == rows[1]
    page.keyboard.press("k")
    page.keyboard.press("x")
    page.keyboard.press("j")
    page.keyboard.press("x")
    assert page.locator("#compare").inner_text() == "Compare 2 chosen"
    page.keyboard.press("c")
    page.wait_for_url("**/compare?**")
    assert page.locator("#differs tbody tr").count() == 2
    page.go_back()
    page.locator("#groups a.open").nth(1).focus()
    page.keyboard.press("Enter")
    page.wait_for_url("**/group/**")
    assert page.locator("h1").inner_text() == rows[1]
    page.go_back()
    until(lambda: page.evaluate("document.activeElement.innerText") == rows[1])
    page.keyboard.press("?")
    assert page.locator("#keys").is_visible()


def test_figures_come_into_places_that_have_their_size(server: Server, open_page: Any) -> None:
    page = open_page(f"{server.address}group/baseline")
    before = page.locator("#models").bounding_box()
    page.mouse.wheel(0, 2000)
    until(lambda: page.locator(".frame[aria-busy]").count() == 0)
    page.evaluate("scrollTo(0, 0)")
    assert page.locator("#models").bounding_box() == before
    drawn = page.locator(".frame img")
    assert drawn.count() >= 3
    for picture in drawn.all():
        until(lambda picture=picture: picture.evaluate("own => own.complete && own.naturalWidth > 0"))
        assert picture.get_attribute("alt")
    assert page.locator(".frame .absent code", has_text="nid coherence --group baseline").count() >= 1
    drawn.first.click()
    page.wait_for_url("**/figure/training**")
    with page.expect_download() as started:
        page.get_by_role("link", name="PDF").click()
    assert Path(started.value.path()).read_bytes().startswith(b"%PDF")


def test_times_are_the_readers_and_tables_are_copied_for_spreadsheets(server: Server, open_page: Any) -> None:
    with closing(sqlite3.connect(Path(server.folder) / ".nid/registry.db")) as connection:
        [made] = connection.execute("SELECT created_at FROM groups WHERE name = 'baseline'").fetchone()
    shown = {}
    for zone in ("UTC", "Asia/Tokyo"):
        page = open_page(server.address, timezone_id=zone, permissions=["clipboard-read", "clipboard-write"])
        shown[zone] = page.locator("tr", has_text="baseline").locator("time").inner_text()
    assert shown["UTC"] == made[:16].replace("T", " ") and shown["Asia/Tokyo"] != shown["UTC"]
    page.get_by_role("button", name="Copy table").click()
    until(lambda: page.locator(".copies", has_text="Copied").count() == 1)
    lines = page.evaluate("navigator.clipboard.readText()").split("\n")
    assert lines[0].split("\t")[0] == "name" and len({line.count("\t") for line in lines}) == 1
    assert [line.split("\t")[0] for line in lines[1:]] == listed(page)
    page.locator(".copy").click()
    # With the registry that is shown, whatever folder it is pasted in.
    place = (Path(server.folder) / ".nid/registry.db").resolve()
    assert page.evaluate("navigator.clipboard.readText()") == f"nid group list --registry {place}"


def test_a_name_full_of_html_runs_nothing(server: Server, open_page: Any) -> None:
    name = "<img src=x onerror=\"document.title='run'\"><script>document.title='run'</script>"
    database = Path(server.folder) / ".nid/registry.db"
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("UPDATE groups SET name = ? WHERE name = 'mlp-digits-standard'", (name,))
    try:
        page = open_page(server.address)
        assert name in listed(page)
        page.locator("#groups a.open", has_text="onerror").click()
        assert page.locator("h1").inner_text() == name
        until(lambda: page.locator(".frame img").count() >= 1)
        assert page.title() != "run" and page.locator("h1 img, h1 script").count() == 0
    finally:
        with closing(sqlite3.connect(database)) as connection, connection:
            connection.execute("UPDATE groups SET name = 'mlp-digits-standard' WHERE name = ?", (name,))


def test_a_training_is_watched_in_two_windows_while_the_server_goes_and_comes(
    training: tuple[Path, subprocess.Popen[bytes]], open_page: Any, serve: Callable[..., Server]
) -> None:
    folder, process = training
    until((folder / ".nid/registry.db").exists, 60)
    server = serve(folder, "--port", "0")
    port = server.address.split(":")[2].strip("/")

    def epoch(page: Any) -> int:
        numbers = [text.split(" of ")[0] for text in page.locator("#commands td.n").all_inner_texts() if " of " in text]
        return int(numbers[0]) if numbers else 0

    one = open_page(f"{server.address}running")
    until(lambda: epoch(one) > 0, 60)
    assert one.locator("#commands tbody tr").count() == 1 and one.locator("#badge").inner_text() == "1"
    assert "nid train --symmetry w --kappa 3" in one.locator("#commands h2").inner_text()
    first = epoch(one)
    until(lambda: epoch(one) > first)
    said = one.locator("#commands .numbers").inner_text()
    assert "epochs a minute" in said and "time left" in said
    two = open_page(f"{server.address}group/mlp-digits-w-k3")
    shown = two.locator("#members tbody td").nth(1)
    before = shown.inner_text()
    until(lambda: shown.inner_text() != before)
    server.process.send_signal(signal.SIGKILL)
    server.process.communicate()
    until(lambda: one.locator("#lost").is_visible() and two.locator("#lost").is_visible())
    assert "does not answer" in one.locator("#lost").inner_text()
    last = epoch(one)
    serve(folder, "--port", port)
    until(lambda: not one.locator("#lost").is_visible() and epoch(one) > last)
    process.kill()
    process.wait()
    until(lambda: one.locator("#commands .work").count() == 0)
    cut_off = one.locator("#cut-off .work").inner_text()
    assert "interrupted" in cut_off and "nid train --symmetry w --kappa 3" in cut_off


def test_tables_are_sorted_by_the_keyboard(server: Server, open_page: Any) -> None:
    page = open_page(f"{server.address}group/baseline")
    heading = page.locator("#members thead th").first
    heading.focus()
    for order in ("descending", "ascending"):
        page.keyboard.press("Enter")
        assert heading.get_attribute("aria-sort") == order
