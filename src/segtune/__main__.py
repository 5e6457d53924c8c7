"""`python -m segtune` is the command `segtune`."""

import sys

from segtune.cli import main

if __name__ == "__main__":
    sys.exit(main())
