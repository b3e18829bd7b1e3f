"""The user's request to stop: Ctrl-C, SIGTERM, or a terminal that closes.

A signal raises KeyboardInterrupt wherever the program is. Where that is a destructor, a callback or a library's
clean-up, the exception is lost, or comes out as another one. So it is raised again until it is heard, that is, until
the program is on its way out; and never within a transaction or within that way out.
"""

from __future__ import annotations

import atexit
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, NoReturn

EXIT_CODE = 130
SENTENCE, HINT = "interrupted; what was recorded is kept", "the same command goes on from there"
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
AGAIN_S = 0.2

_requested = threading.Event()
_put_off = 0


def was_requested() -> bool:
    """Whether the user has asked to stop."""
    return _requested.is_set()


def listen() -> None:
    """Makes the signals of this process stop it. What nohup protects from a closing terminal stays protected."""
    for number in SIGNALS:
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, _stop)
    signal.signal(signal.SIGALRM, _repeat)
    report = sys.unraisablehook
    # Python reports an interruption that a destructor loses; this one comes again.
    sys.unraisablehook = lambda lost: None if lost.exc_type is KeyboardInterrupt else report(lost)


def _stop(signum: int, frame: Any) -> None:
    _requested.set()
    signal.setitimer(signal.ITIMER_REAL, AGAIN_S)
    if not (_put_off or _is_heard()):
        raise KeyboardInterrupt


def _repeat(signum: int, frame: Any) -> None:
    if was_requested():
        _stop(signum, frame)


def _is_heard() -> bool:
    """Whether a KeyboardInterrupt is being handled, by us or by those who called us."""
    error = sys.exception()
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__context__
    return error is not None


@contextmanager
def put_off() -> Iterator[None]:
    """Puts a request to stop off to the end of a block, which is short."""
    global _put_off
    if threading.current_thread() is not threading.main_thread():
        yield  # signals go to the main thread alone
        return
    _put_off += 1
    try:
        yield
    finally:
        _put_off -= 1
        if was_requested() and not (_put_off or _is_heard()):
            raise KeyboardInterrupt


def over() -> None:
    """The program has stopped what it did: forgets the request."""
    _requested.clear()
    signal.setitimer(signal.ITIMER_REAL, 0)


def leave(code: int = EXIT_CODE) -> NoReturn:
    """Ends the program, so that nothing can disturb its end any more.

    Not as Python does: it waits for threads, and dies of SIGINT itself where a KeyboardInterrupt once passed ``exec``.
    """
    for number in (*SIGNALS, signal.SIGALRM):
        signal.signal(number, signal.SIG_IGN)
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError, AttributeError):
            stream.flush()
    os._exit(code)
