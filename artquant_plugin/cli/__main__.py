"""`python -m artquant_plugin.cli` runs the `artquant` command, for launchers that start modules."""

import sys

from artquant_plugin.cli import main

sys.exit(main())
