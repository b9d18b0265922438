"""`python -m groma` is the `groma` command."""

import sys

from groma.cli import main

sys.exit(main())
