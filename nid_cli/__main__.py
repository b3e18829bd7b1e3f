"""The console script, and ``python -m nid_cli``."""

import gc
from typing import NoReturn


def main() -> NoReturn:
    """Runs the command line."""
    gc.disable()  # collecting garbage while modules load costs a tenth of a listing's time
    from nid_cli.cli.app import main as run

    gc.freeze()
    gc.enable()
    run()


if __name__ == "__main__":
    main()
