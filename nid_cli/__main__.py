"""The console script, and ``python -m nid_cli``."""

import gc
import sys
from typing import NoReturn


def main() -> NoReturn:
    """Runs the command line."""
    gc.disable()  # collecting garbage while modules load costs a tenth of a listing's time
    try:
        from nid_cli.cli.app import main as run
    except KeyboardInterrupt:
        sys.exit(130)
    gc.freeze()
    gc.enable()
    run()


if __name__ == "__main__":
    main()
