"""Progress output of the shell commands."""

import sys
from typing import Any

import keras


def on_terminal(stream: Any = None) -> bool:
    """Whether someone looks at the stream, by default the output."""
    return (stream or sys.stdout).isatty()


class ProgressLines(keras.callbacks.Callback):
    """A line every tenth of an epoch: a bar in a file is control characters.

    Args:
        stream: where to write; `None` for nowhere.
    """

    def __init__(self, stream: Any = None) -> None:
        super().__init__()
        self._stream = stream

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        self._epoch = epoch + 1
        self._step = 0

    def get_state(self) -> dict:
        return {"step": self._step}

    def set_state(self, state: dict) -> None:
        self._step = state["step"]

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        # Counted here: Keras counts a resumed epoch's batches from 0.
        steps = self.params["steps"]
        before = self._step * 10 // steps
        self._step += 1
        # The last tenth is the line of the epoch.
        if before < self._step * 10 // steps < 10:
            self._print(f"step {self._step} of {steps}", logs)

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        self._print("end", logs)

    def _print(self, place, logs):
        epochs = self.params["epochs"]
        if self._stream is None:
            return
        figures = " ".join(f"{k} {float(v):.4g}" for k, v in logs.items())
        print(
            f"Epoch {self._epoch} of {epochs}, {place}: {figures}",
            file=self._stream,
            flush=True,
        )


class Counter:
    """Shows on the error stream how many documents there were.

    Results go to the output. On one screen both would run together.
    """

    def __init__(self) -> None:
        self._shown = on_terminal(sys.stderr) and not on_terminal()
        self._count = 0

    def add(self, documents: int) -> None:
        self._count += documents
        if self._shown:
            sys.stderr.write(f"\r{self._count} documents")
            sys.stderr.flush()

    def close(self) -> None:
        if self._shown and self._count:
            sys.stderr.write("\n")
