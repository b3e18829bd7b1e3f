"""Figures and other people's text inside a page: it runs nothing, and its names do not clash."""

from __future__ import annotations

import re
from xml.etree import ElementTree

SVG, XLINK = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"
HREF = f"{{{XLINK}}}href"
# A reference to a name: a whole href, or url(#name) within a value.
REFERENCE = re.compile(r"(?<=^#).+|(?<=url\(#)[^)]+")


def printable(text: str) -> str:
    """The text without characters that steer a screen or turn its direction; lines stay lines."""
    return "".join(c if c.isprintable() or c == "\n" else "\N{REPLACEMENT CHARACTER}" for c in text)


def inline_svg(content: bytes, prefix: str, title: str) -> str:
    """The ``<svg>`` element of a figure, fit to stand among others in one HTML document.

    Matplotlib names the parts of all figures alike (``figure_1``) and equal pictures equally: names that nothing refers
    to are left out, the others begin with ``prefix``, as do references to them. Left out are also comments (which
    repeat the figure's text), metadata, and styles, which would hold for the whole page.

    Args:
        content: a figure's SVG file.
        title: what those hear who do not see it.
    """
    root = ElementTree.fromstring(content)  # which drops comments
    for parent in list(root.iter()):
        for child in [c for c in parent if c.tag in (f"{{{SVG}}}metadata", f"{{{SVG}}}style")]:
            parent.remove(child)
    wanted = {name for element in root.iter() for value in _referring(element) for name in REFERENCE.findall(value)}
    for element in root.iter():
        for attribute in [n for n, value in element.attrib.items() if value in _referring(element)]:
            element.set(attribute, REFERENCE.sub(lambda found: prefix + found[0], element.attrib[attribute]))
        name = element.attrib.pop("id", None)
        if name is not None and name in wanted:
            wanted.remove(name)
            element.set("id", prefix + name)
    root.set("role", "img")
    root.set("aria-label", printable(title))
    ElementTree.register_namespace("", SVG)
    ElementTree.register_namespace("xlink", XLINK)
    return ElementTree.tostring(root, encoding="unicode")


def _referring(element: ElementTree.Element) -> list[str]:
    """The values of an element's attributes that may refer to names."""
    return [value for name, value in element.attrib.items() if name == HREF or "url(#" in value]
