"""Whether the user has asked to stop.

A signal raises KeyboardInterrupt wherever the program is. Where that is a destructor or a callback, Python prints it
and goes on; where it is a library's clean-up, it comes out as another error. So the wish is kept here too.
"""

from __future__ import annotations

import threading

requested = threading.Event()


def check() -> None:
    """Stops here if that was asked for.

    Raises:
        KeyboardInterrupt: it was.
    """
    if requested.is_set():
        raise KeyboardInterrupt
