"""The shell command `keras-hvae`."""

import logging
import signal
import sys
from collections.abc import Sequence

from keras_hvae.cli.deadline import STOPPED, end_in_time
from keras_hvae.cli.parser import build_parser


def run() -> None:
    """The program: `main`, and for trainings an end in 10 s if stopped."""
    if sys.argv[1:2] in (["train"], ["demo"]):
        end_in_time()
    sys.exit(main())


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit code.

    0 is success, 1 an error (bad input, a file that cannot be read or
    written, a training that diverged), 2 wrong usage, 130 a stop by Ctrl-C,
    143 one by SIGTERM.
    """
    args = build_parser().parse_args(argv)
    # TensorFlow warns of gradients that a model to serve does not have. A
    # filter, as Keras sets the level of these loggers anew.
    loggers = [logging.getLogger(name) for name in ("absl", "tensorflow")]
    for logger in loggers:
        logger.addFilter(_is_error)
    stops = []

    def stop(number, _):
        stops.append(number)
        raise KeyboardInterrupt

    defaults = {
        signal.SIGINT: signal.default_int_handler,
        signal.SIGTERM: signal.SIG_DFL,
    }
    # Signals that have another handler, or are ignored, stay so.
    ours = {
        number: default
        for number, default in defaults.items()
        if signal.getsignal(number) is default
    }
    for number in ours:
        signal.signal(number, stop)
    try:
        args.run(args)
        # Flushed here: at interpreter exit a closed pipe could not be reported.
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader of the output has closed the pipe (`| head`).
        sys.stdout = None
        return 0
    # An interrupt during tracing is raised as another error.
    except (KeyboardInterrupt, Exception) as error:
        if args.debug:
            raise
        if stops or isinstance(error, KeyboardInterrupt):
            print("Interrupted.", file=sys.stderr)
            return STOPPED + (stops[0] if stops else signal.SIGINT)
        print(f"keras-hvae: error: {_message(error)}", file=sys.stderr)
        return 1
    finally:
        for number, default in ours.items():
            signal.signal(number, default)
        for logger in loggers:
            logger.removeFilter(_is_error)
    return 0


def _is_error(record):
    return record.levelno >= logging.ERROR


def _message(error):
    if isinstance(error, OSError) and error.strerror and error.filename:
        return f"{error.filename}: {error.strerror}"
    if isinstance(
        error, (ValueError, OSError, ImportError, NotImplementedError)
    ):
        return str(error)
    # An unexpected error: its message, and how to see the traceback.
    return f"{type(error).__name__}: {error} (`--debug` shows where)"
