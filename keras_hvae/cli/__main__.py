"""`python -m keras_hvae.cli`."""

import sys

from keras_hvae.cli import main

if __name__ == "__main__":
    sys.exit(main())
