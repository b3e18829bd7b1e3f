"""``nid ui``: the laboratory in a browser."""

from __future__ import annotations

from typing import Annotated

import typer

from nid_cli import stopping
from nid_cli.cli import options, render
from nid_cli.pipeline.context import Context

EXAMPLES = options.examples(
    "nid ui",
    "nid ui --port 9000 --no-open",
    "nid ui --registry lab/.nid/registry.db",
    "nid ui --host 0.0.0.0",
)

Host = Annotated[
    str | None,
    typer.Option(
        "--host",
        metavar="ADDRESS",
        help="Listen at this address too, for other machines; asks for a token [127.0.0.1, for this machine alone].",
    ),
]
Port = Annotated[
    int, typer.Option("--port", metavar="N", min=0, max=65535, help="The port, or the next one that is free.")
]
Open = Annotated[bool, typer.Option("--open/--no-open", help="Open the first page in your browser.")]


def ui(
    port: Port = 8017,
    browse: Open = True,
    host: Host = None,
    registry: options.RegistryOption = None,
) -> None:
    """Show the laboratory in a browser: groups, figures, lineage, and what is running; it writes nothing.

    Prints its address, and answers until Ctrl-C ends it.
    """
    from nid_cli.web.serve import Served, serve

    def told(served: Served) -> None:
        if served.moved:
            render.say(f"port {port} is in use; this is port {served.port}")
        render.emit(served.address)
        render.say("Ctrl-C ends it" if host is None else "whoever has this address can look; Ctrl-C ends it")

    try:
        serve(Context(registry=registry, argv=options.command_line()), host, port, browse=browse, told=told)
    except KeyboardInterrupt:  # how a server is ended: its work is done, and no figure in the making is waited for
        stopping.leave(0)
