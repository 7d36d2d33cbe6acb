"""The shell command `keras-hvae`."""

import signal
import sys

from keras_hvae.cli.parser import build_parser

INTERRUPTED = 130


def main(argv=None):
    """Runs the command; returns its exit code.

    0 is success, 1 an error (bad input, a file that cannot be read or
    written), 2 wrong usage, 130 a stop by Ctrl-C.
    """
    args = build_parser().parse_args(argv)
    interrupts = []
    default = signal.getsignal(signal.SIGINT)

    def interrupt(*_):
        interrupts.append(True)
        raise KeyboardInterrupt

    # TensorFlow turns an interrupt in the midst of tracing into other errors.
    ours = default is signal.default_int_handler
    if ours:
        signal.signal(signal.SIGINT, interrupt)
    try:
        args.run(args)
        # Here, not at interpreter exit, where a closed pipe cannot be told.
        sys.stdout.flush()
    except KeyboardInterrupt:
        if args.debug:
            raise
        print("Interrupted.", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read the output has enough (`| head`).
        sys.stdout = None
        return 0
    except Exception as error:
        if args.debug:
            raise
        if interrupts:
            print("Interrupted.", file=sys.stderr)
            return INTERRUPTED
        print(f"keras-hvae: error: {_message(error)}", file=sys.stderr)
        return 1
    finally:
        if ours:
            signal.signal(signal.SIGINT, default)
    return 0


def _message(error):
    if isinstance(error, OSError) and error.strerror and error.filename:
        return f"{error.filename}: {error.strerror}"
    if isinstance(
        error, (ValueError, OSError, ImportError, NotImplementedError)
    ):
        return str(error)
    # Not foreseen: say what it is, and how to see more.
    return f"{type(error).__name__}: {error} (`--debug` shows where)"
