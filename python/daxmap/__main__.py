"""`python -m daxmap` is the `daxmap` command."""

import sys

from daxmap.cli import main

if __name__ == "__main__":
    sys.exit(main())
