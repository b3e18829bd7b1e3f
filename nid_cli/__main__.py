"""The console script, and ``python -m nid_cli``."""

import gc
import sys

from nid_cli import stopping


def main() -> None:
    """Runs the command line."""
    stopping.listen()  # before the imports that take time
    # Looking for cycles while modules load costs a tenth of a listing's time, and a fifth of a second with torch.
    gc.set_threshold(100_000, 50, 50)
    try:
        from nid_cli.cli.app import run

        code = run()
    except BaseException:  # an import that a signal cuts off can fail in its own words
        if not stopping.was_requested():
            raise
        sys.stderr.write(f"error: {stopping.SENTENCE}\nhint: {stopping.HINT}\n")
        code = stopping.EXIT_CODE
    if code == stopping.EXIT_CODE or "torch" in sys.modules:  # which takes a quarter of a second to take apart
        stopping.leave(code)
    sys.exit(code)


if __name__ == "__main__":
    main()
