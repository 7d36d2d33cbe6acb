"""SIGINT and SIGTERM, held back until a step has ended."""

import os
import signal
import threading
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)
PATIENCE = 7.0  # seconds


class StopSignals:
    """Holds a signal back until the training is at a place to stop.

    A signal that is ignored stays so. A second one, or one that has waited
    for `patience` seconds, acts at once as it would have without this.

    Args:
        patience: seconds.

    Attributes:
        received: the number of the signal that waits, or `None`.
    """

    def __init__(self, patience: float = PATIENCE) -> None:
        self.patience = patience
        self.received: int | None = None
        self._handlers: dict = {}
        self._timer: threading.Timer | None = None

    def hold(self) -> None:
        """Begins; does nothing outside of the main thread."""
        if threading.current_thread() is not threading.main_thread():
            return
        for number in SIGNALS:
            handler = signal.getsignal(number)
            # `None`: of another program that has this one within it.
            if handler not in (signal.SIG_IGN, None):
                self._handlers[number] = handler
                signal.signal(number, self._receive)

    def release(self) -> None:
        """Ends; a signal that waits is forgotten."""
        if self._timer is not None:
            self._timer.cancel()
        for number, handler in self._handlers.items():
            if signal.getsignal(number) == self._receive:
                signal.signal(number, handler)
        self._handlers = {}
        self.received = None

    def act(self) -> None:
        """Lets the signal that waits do what it does."""
        number = self.received
        self.release()
        if number is not None:
            signal.raise_signal(number)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        again = self.received is not None
        self.received = number
        if again:
            self.act()
            return
        self._timer = threading.Timer(
            self.patience, os.kill, (os.getpid(), number)
        )
        self._timer.daemon = True
        self._timer.start()
