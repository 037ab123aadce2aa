"""`python -m artquant_plugin`: the `artquant` command, where its script is not on the PATH."""

import sys

from artquant_plugin.cli import main

sys.exit(main())
