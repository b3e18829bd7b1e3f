"""Which requests are answered: those of this machine's user, in his own browser, that only look."""

from __future__ import annotations

import ipaddress
import secrets
from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urlsplit

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Asgi = Callable[[Scope, Receive, Send], Awaitable[None]]

METHODS = ("GET", "HEAD")
# Of an address in bytes: 300 names of groups fit.
LONGEST = 32_768
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
TOKEN = "token"
# Nothing but what this server gives runs, styles or is shown; no other page may frame it or read it.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
HEADERS: Mapping[str, str] = {
    "content-security-policy": POLICY,
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}


@dataclass(frozen=True, kw_only=True)
class Rules:
    """Who is answered.

    ``names``: of the machine, as a browser may call it (small letters); any address in numbers is one too where
    ``numbers`` is set. ``token``: what a request must bring, if any. ``cookie``: where a browser keeps it.
    """

    names: frozenset[str] = LOOPBACK
    numbers: bool = False
    token: str | None = None
    cookie: str = "nid_token"

    def knows(self, host: str) -> bool:
        """Whether a Host header is one of ours. (A name of somebody else's that leads here is an attack.)"""
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:  # brackets that enclose no address
            return False
        return name in self.names or (self.numbers and _is_number(name))

    def admits(self, token: str | None) -> bool:
        """Whether a token opens the door."""
        return self.token is None or (token is not None and secrets.compare_digest(token.encode(), self.token.encode()))


def _is_number(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


class Guard:
    """Answers what may not pass itself, with a sentence; gives everything that passes the headers of safety."""

    def __init__(self, app: Asgi, rules: Rules) -> None:
        self.app, self.rules = app, rules

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":  # no web sockets here
            return
        given = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        query = scope["query_string"].decode("latin-1")
        tokens = [] if len(query) > LONGEST else [own for name, own in parse_qsl(query) if name == TOKEN]
        refused = self._refusal(scope, given, query, tokens)
        extra = dict(HEADERS)
        if self.rules.token is not None and tokens and not refused:
            extra["set-cookie"] = f"{self.rules.cookie}={self.rules.token}; Path=/; HttpOnly; SameSite=Strict"

        async def guarded(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                own = {name.lower() for name, _ in message["headers"]}
                more = [(n.encode(), v.encode()) for n, v in extra.items() if n.encode() not in own]
                message = {**message, "headers": [*message["headers"], *more]}
            await send(message)

        if refused is None:
            await self.app(scope, receive, guarded)
            return
        status, sentence = refused
        content = f"{sentence}\n".encode()
        headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", str(len(content)).encode())]
        headers += [(b"allow", ", ".join(METHODS).encode())] if status == 405 else []
        await guarded({"type": "http.response.start", "status": status, "headers": headers})
        await guarded({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else content})

    def _refusal(
        self, scope: Scope, given: Mapping[str, str], query: str, tokens: Sequence[str]
    ) -> tuple[int, str] | None:
        """Status and sentence for what may not pass."""
        host = given.get("host", "")
        if not self.rules.knows(host):
            return 403, "This server answers to its own address only."
        if (origin := given.get("origin")) is not None and origin.partition("//")[2] != host:
            return 403, "Other pages may not ask this server."
        site, mode = given.get("sec-fetch-site", "none"), given.get("sec-fetch-mode", "navigate")
        if site not in ("none", "same-origin") and mode != "navigate":
            return 403, "Other pages may not ask this server."
        if scope["method"] not in METHODS:
            return 405, "This server only shows: GET and HEAD are all it knows."
        if len(query) + len(scope["path"]) > LONGEST:
            return 414, "The address is too long."
        kept = _cookies(given.get("cookie", "")).get(self.rules.cookie)
        if not any(self.rules.admits(token) for token in (*tokens, kept)):
            return 403, "This server needs the token: open the address that nid ui printed."
        return None


def _cookies(header: str) -> dict[str, str]:
    pairs = (part.strip().partition("=") for part in header.split(";"))
    return {name: value for name, _, value in pairs}
