"""`python -m groma` is the `groma` command."""

import sys

from groma.cli.main import main

sys.exit(main())
