"""Imports Keras for the shell command, without TensorFlow's messages."""

import os
import pathlib
import sys


def start_quietly() -> None:
    """Imports Keras and says nothing, if this is the command `keras-hvae`.

    TensorFlow reads the level of its log when it is imported, and some lines
    come before that. So this runs before anything else of the package. Who
    sets `TF_CPP_MIN_LOG_LEVEL` sees what there is.
    """
    level = "TF_CPP_MIN_LOG_LEVEL"
    if level in os.environ or not any(
        x == "keras_hvae.cli" or pathlib.PurePath(x).stem == "keras-hvae"
        for x in sys.orig_argv[:3]
    ):
        return
    os.environ[level] = "3"  # TensorFlow reports a missing GPU as an error.
    try:
        screen = os.dup(2)
    except OSError:  # there is no standard error
        return
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 2)
    try:
        import keras  # noqa: F401
    finally:
        os.dup2(screen, 2)
        os.close(screen)
        os.close(nothing)
