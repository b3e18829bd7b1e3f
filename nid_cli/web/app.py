"""The pages behind their addresses: one table, and what all answers have in common."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any

import anyio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from nid_cli.errors import IntegrityError, NidError, NotFoundError, RegistryError, UsageError
from nid_cli.registry.database import only_reading
from nid_cli.web import drawing, rendering
from nid_cli.web.desk import Desk
from nid_cli.web.guard import Guard, Rules
from nid_cli.web.links import Words, last
from nid_cli.web.pages import compare, figure, group, groups, result, running

# What an error of the command line is to a browser.
STATUS: Mapping[type[NidError], int] = {UsageError: 400, NotFoundError: 404, RegistryError: 503, IntegrityError: 500}
STATIC: Mapping[str, str] = {
    "nid.css": "text/css; charset=utf-8",
    "nid.js": "text/javascript; charset=utf-8",
    "nid.svg": "image/svg+xml",
}
# Matplotlib writes styles into an SVG; where it is opened alone, these and nothing else work.
SVG_POLICY = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"

# Of what has another address as soon as it changes.
FOREVER = {"cache-control": "private, max-age=31536000, immutable"}

Show = Callable[[Desk, Mapping[str, str], Words], dict[str, Any]]


@dataclass(frozen=True, kw_only=True)
class Page:
    """A page: where it is, its template, and what says what it says. ``draws``: whether it may draw a figure."""

    path: str
    template: str
    show: Show
    draws: bool = False


PAGES = (
    Page(path="/", template="groups.html", show=lambda desk, _, words: groups.show(desk, words)),
    Page(path="/compare", template="compare.html", show=lambda desk, _, words: compare.show(desk, words)),
    Page(path="/running", template="running.html", show=lambda desk, _, words: running.show(desk, words)),
    Page(
        path="/group/{name:path}",
        template="group.html",
        show=lambda desk, path, words: group.show(desk, path["name"], words),
    ),
    Page(
        path="/result/{id}", template="result.html", show=lambda desk, path, _: result.show(desk, path["id"])
    ),
    Page(
        path="/figure/{name}",
        template="figure.html",
        show=lambda desk, path, words: figure.show(desk, path["name"], words),
        draws=True,
    ),
    # The place of a figure within another page, which its script fills.
    Page(
        path="/slot/{name}",
        template="slot.html",
        show=lambda desk, path, words: figure.show(desk, path["name"], words),
        draws=True,
    ),
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Answer:
    """A file or a page before it is sent. ``tag``: what stays the same as long as its content does."""

    content: bytes
    media: str
    status: int = 200
    tag: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


class Site:
    """All answers of one server. Figures are drawn one at a time, apart from the threads that make pages."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self._static = {name: (files("nid_cli.web") / "static" / name).read_bytes() for name in STATIC}
        self.stamp = hashlib.sha256(b"".join(self._static.values())).hexdigest()[:10]
        self.templates = rendering.environment(self.stamp)
        self._drawing: anyio.Semaphore | None = None

    def page(self, page: Page, path: Mapping[str, str], words: Words) -> Answer:
        """A page as text."""
        values = page.show(self.desk, path, words)
        return self._html(page.template, values | {"running": running.count(self.desk)})

    def _html(self, template: str, values: Mapping[str, Any], status: int = 200) -> Answer:
        shown = self.templates.get_template(template).render(place=str(self.desk.place), **values)
        content = shown.encode()
        tag = hashlib.sha256(content).hexdigest()[:32]
        return Answer(content=content, media="text/html; charset=utf-8", status=status, tag=tag)

    def draw(self, name: str, words: Words) -> Answer:
        """A figure, or its data, as a file: ``lmc.svg``."""
        figure_name, dot, ending = name.rpartition(".")
        media = {**drawing.PICTURES, **drawing.DATA}.get(dot + ending)
        if media is None:
            known = ", ".join((*drawing.PICTURES, *drawing.DATA))
            raise NotFoundError(f"there is no figure {name!r}", f"its name ends in one of {known}")
        found = drawing.find(self.desk, drawing.asked(figure_name, words))
        content = drawing.file_of(self.desk, found, dot + ending)
        headers = {} if ending in ("svg", "png") else {"content-disposition": f'attachment; filename="{name}"'}
        return self._picture(content, media, ending, found.key, headers)

    def kept(self, name: str, words: Words) -> Answer | None:
        """A figure by its key, if it was drawn before: nothing is read for it."""
        _, dot, ending = name.rpartition(".")
        key, media = last(words, "key"), drawing.PICTURES.get(dot + ending)
        content = self.desk.kept.get(key + dot + ending) if key and media else None
        return self._picture(content, str(media), ending, key, FOREVER) if content is not None else None

    @staticmethod
    def _picture(content: bytes, media: str, ending: str, key: str, headers: Mapping[str, str]) -> Answer:
        safe = {"content-security-policy": SVG_POLICY} if ending == "svg" else {}
        return Answer(content=content, media=media, tag=f"{key}{ending}", headers={**headers, **safe})

    def static(self, name: str) -> Answer:
        """A file of this package; its address changes with it."""
        if name not in STATIC:
            raise NotFoundError(f"there is no file {name!r}")
        return Answer(content=self._static[name], media=STATIC[name], headers=FOREVER)

    def refusal(self, error: NidError) -> Answer:
        """An error as a page: a sentence and its hint."""
        status = next((own for kind, own in STATUS.items() if isinstance(error, kind)), 500)
        return self._html("error.html", {"error": error, "status": status, "running": 0}, status)

    async def answer(self, request: Request, work: Callable[[], Answer], draws: bool) -> Response:
        """What work gives, made in a thread; errors as sentences; nothing again that the browser has."""

        def safely() -> Answer:
            with only_reading():
                try:
                    return work()
                except NidError as error:
                    return self.refusal(error)

        if not draws:
            return self._response(request, await anyio.to_thread.run_sync(safely, abandon_on_cancel=True))
        if self._drawing is None:
            self._drawing = anyio.Semaphore(1)
        async with self._drawing:
            if await request.is_disconnected():  # nobody waits for it any more
                return Response(status_code=499)
            return self._response(request, await anyio.to_thread.run_sync(safely, abandon_on_cancel=True))

    @staticmethod
    def _response(request: Request, made: Answer) -> Response:
        headers = {"cache-control": "no-cache", **made.headers}
        if made.tag is not None and made.status == 200:
            headers["etag"] = f'"{made.tag}"'
            if f'"{made.tag}"' in request.headers.get("if-none-match", ""):
                return Response(status_code=304, headers=headers)
        return Response(made.content, status_code=made.status, media_type=made.media, headers=headers)


def application(desk: Desk, rules: Rules) -> Guard:
    """The whole server as an ASGI application."""
    site = Site(desk)

    def words(request: Request) -> Words:
        return list(request.query_params.multi_items())

    def of_page(page: Page) -> Callable[[Request], Awaitable[Response]]:
        async def endpoint(request: Request) -> Response:
            path, own = dict(request.path_params), words(request)
            return await site.answer(request, lambda: site.page(page, path, own), page.draws)

        return endpoint

    async def draw(request: Request) -> Response:
        name, own = request.path_params["name"], words(request)
        kept = site.kept(name, own)
        return await site.answer(request, lambda: kept or site.draw(name, own), draws=kept is None)

    async def static(request: Request) -> Response:
        name = request.path_params["name"]
        return await site.answer(request, lambda: site.static(name), draws=False)

    async def nothing(request: Request, error: Exception) -> Response:
        refused = NotFoundError("there is no such page", "the list of groups is at /")
        return await site.answer(request, lambda: site.refusal(refused), draws=False)

    async def broken(request: Request, error: Exception) -> Response:
        refused = NidError(
            f"an error in nid itself: {type(error).__name__}", "the terminal has it in full; please report it"
        )
        return await site.answer(request, lambda: site.refusal(refused), draws=False)

    routes = [Route(page.path, of_page(page)) for page in PAGES]
    routes += [Route("/draw/{name}", draw), Route("/static/{name}", static)]
    app = Starlette(routes=routes, exception_handlers={404: nothing, Exception: broken})
    return Guard(app, rules)
