"""``python -m spinemamba`` is the command line."""

import sys

from spinemamba.cli import main

if __name__ == "__main__":
    sys.exit(main())
