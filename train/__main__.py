"""`python -m artquant_plugin.train CONFIG`, for `accelerate launch`; the same as `artquant train CONFIG`."""

import sys

from artquant_plugin.cli import main

if __name__ == "__main__":
    sys.exit(main(["train", *sys.argv[1:]]))
