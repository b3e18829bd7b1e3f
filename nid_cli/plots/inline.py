"""Figures inside a page: the SVG that matplotlib writes, fit to stand among others in one HTML document."""

from __future__ import annotations

import re
from xml.etree import ElementTree

SVG, XLINK = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"
HREF = f"{{{XLINK}}}href"


def inline_svg(content: bytes, prefix: str, title: str) -> str:
    """The ``<svg>`` element of a figure.

    Every name in it and every reference to one begins with ``prefix``, as matplotlib calls the parts of all figures
    alike (``figure_1``). Left out are comments (which repeat the figure's text), metadata, and styles, which would hold
    for the whole page.

    Args:
        content: a figure's SVG file.
        title: what those hear who do not see it.
    """
    # Comments are dropped by the parser.
    root = ElementTree.fromstring(content)
    for parent in list(root.iter()):
        for child in [c for c in parent if c.tag in (f"{{{SVG}}}metadata", f"{{{SVG}}}style")]:
            parent.remove(child)
    for element in root.iter():
        for name, value in element.attrib.items():
            if name == "id":
                element.set(name, prefix + value)
            elif name == HREF and value.startswith("#"):
                element.set(name, f"#{prefix}{value[1:]}")
            elif "url(#" in value:
                element.set(name, re.sub(r"url\(#", f"url(#{prefix}", value))
    root.set("role", "img")
    root.set("aria-label", title)
    ElementTree.register_namespace("", SVG)
    ElementTree.register_namespace("xlink", XLINK)
    return ElementTree.tostring(root, encoding="unicode")
