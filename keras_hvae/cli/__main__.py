"""`python -m keras_hvae.cli`."""

from keras_hvae.cli import run

if __name__ == "__main__":
    run()
