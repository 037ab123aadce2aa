"""`python -m artquant_plugin.train.studies NAME CONFIG`, for `accelerate launch`; the same as `artquant study`."""

import sys

from artquant_plugin.cli import main

if __name__ == "__main__":
    sys.exit(main(["study", *sys.argv[1:]]))
