"""``nid`` with the toys in its tables; its worker processes import this module too."""

import sys

import tests.toys

tests.toys.add()

if __name__ == "__main__":
    from nid_cli.cli.app import run

    sys.exit(run(sys.argv[1:]))
