"""The end of a process that was told to stop, whatever it is doing."""

import os
import signal
import threading
import time

SECONDS = 9.0
STOPPED = 128  # plus the number of the signal: the exit code


def end_in_time(seconds: float = SECONDS) -> None:
    """Lets this process end so long after SIGINT or SIGTERM, at the latest.

    Python's own handlers wait for the end of what runs in C, such as the
    compilation of a model. Files are written whole or not at all, so that an
    end at any moment leaves none that is half written.

    Args:
        seconds: from the signal on.
    """
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    # C code of Python writes the number of each signal there at once.
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)

    def wait():
        number = 0
        while number not in (signal.SIGINT, signal.SIGTERM):
            number = os.read(reader, 1)[0]
        time.sleep(seconds)
        os._exit(STOPPED + number)

    threading.Thread(target=wait, daemon=True).start()
