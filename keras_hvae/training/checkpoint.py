"""Checkpoints that a training goes on from, exactly."""

import contextlib
import errno
import os
import pathlib
import random
import shutil
import tempfile
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_hvae.arguments import check_positive_int
from keras_hvae.callbacks.state import get_state, set_state
from keras_hvae.data.processes import is_first, of_the_first
from keras_hvae.training.checkpoint_files import (
    checkpoint_path,
    read_checkpoint,
    read_last,
    remove_temporary,
    write_checkpoint,
)
from keras_hvae.training.settings import (
    check_settings,
    digest_of,
    settings_of,
)
from keras_hvae.training.stop_signals import StopSignals

EVERY = 500  # batches
SHARE = 0.02  # of the time, at most, for the checkpoints that begin epochs
# Keras ends an epoch when it finds this true; callbacks set it to `True`.
_END_OF_EPOCH = "the last batch of a resumed epoch"


class Checkpoint(keras.callbacks.Callback):
    """Saves a training as it goes, and goes on from where it was.

    A training that was killed and begun anew by the same program ends with
    the same weights, bit by bit, the same history and the same rows of a
    `CSVLogger` as one that was not. A checkpoint has the weights, the state
    of the optimizer and of random draws, the metrics of the epoch so far,
    the state of all callbacks (see `callbacks.state`) and the place in the
    data. It is written under a temporary name and then renamed, with its
    SHA-256; two are kept, and where the last one is damaged a warning names
    it, and the one before is taken.

    Checkpoints are written before the first batch, at least `every` batches
    apart, and at the end. If `folder` has one, `fit` goes on from it; from
    that of a training that was over it returns at once. All that decides on
    the training must be as it was then, or `fit` refuses to go on.

    SIGINT (Ctrl-C) and SIGTERM wait for the end of a batch: a checkpoint is
    written, then they act as they would without this callback. A second one,
    or 7 seconds of waiting, lets them act at once; then, and at the end of an
    epoch, the last checkpoint may be an earlier one.

    The data must be able to start anywhere: `corpus.train` of
    `keras_hvae.data.load`, of text, of `.npz` or of TFRecords alike, or any
    dataset with a method `start_at(epoch, step)` and a dict `order` that
    tells `"batches"`, the number in an epoch. Put the callback last.

    Of several processes that train one model the first writes, and says which
    checkpoint all of them read: they must see the same folder.

    Args:
        folder: of the checkpoints, with nothing else in it.
        every: number of batches between two, within an epoch. Epochs begin
            with one as long as this takes little of the time.
        settings: further settings that must be the same, a dict of plain
            values.
        data: the data that `fit` trains on. The models of this package tell
            it themselves.
        callbacks: all other callbacks of `fit`. The models of this package
            tell them themselves.
        verbose: whether a line says where a training goes on.

    Attributes:
        resumed: the file that the training goes on from, or `None`.
        seconds: of training, over all that has been resumed.

    Raises:
        ValueError: for an argument out of range; in `fit`, if the data cannot
            start anywhere, if processes train unlike models, or for a
            checkpoint of another training: the message names what differs.
        keras_hvae.files.DamagedFileError: in `fit`, if no checkpoint is whole.
        OSError: in `fit`, before the first batch, if nothing can be written,
            or there is no space for three checkpoints.

    Example:

    >>> corpus = keras_hvae.data.load([["yes", "no"], ["no"]] * 20)
    >>> model = HVAE(corpus.vocabulary, 2, 4, 8, seed=0)
    >>> model.compile("adam")
    >>> checkpoint = keras_hvae.training.Checkpoint("checkpoints", every=100)
    >>> history = model.fit(
    ...     corpus.train,
    ...     epochs=2,
    ...     shuffle=False,
    ...     verbose=0,
    ...     callbacks=[checkpoint],
    ... )
    >>> again = HVAE(corpus.vocabulary, 2, 4, 8, seed=0)
    >>> again.compile("adam")
    >>> checkpoint = keras_hvae.training.Checkpoint("checkpoints", every=100)
    >>> same = again.fit(
    ...     corpus.train,
    ...     epochs=2,
    ...     shuffle=False,
    ...     verbose=0,
    ...     callbacks=[checkpoint],
    ... )
    The training was over: checkpoints/epoch-000002-step-000000000.checkpoint
    >>> same.history == history.history
    True
    """

    def __init__(
        self,
        folder: str | os.PathLike,
        every: int = EVERY,
        settings: Mapping[str, Any] | None = None,
        data: Any = None,
        callbacks: Sequence[keras.callbacks.Callback] = (),
        verbose: int = 1,
    ) -> None:
        super().__init__()
        check_positive_int(every=every)
        self.folder = pathlib.Path(folder)
        self.every = every
        self.settings = dict(settings or {})
        self.data = data
        self.callbacks = [x for x in callbacks if x is not self]
        self.resumed: pathlib.Path | None = None
        self.verbose = verbose
        self.seconds = 0.0
        self._signals = StopSignals()

    @contextlib.contextmanager
    def fitting(
        self, data: Any, callbacks: Sequence[keras.callbacks.Callback]
    ) -> Iterator[None]:
        """What models do around `fit`: tells the data and the callbacks."""
        if callbacks[-1] is not self:
            raise ValueError(
                "Checkpoint must be the last of the `callbacks`: it saves what "
                "the others have done. Received: "
                f"{type(callbacks[-1]).__name__} as the last one"
            )
        self.data, self.callbacks = data, list(callbacks[:-1])
        try:
            yield
        finally:
            self._signals.release()

    def on_train_begin(self, logs: dict | None = None) -> None:
        self._check_data()
        optimizer = self.model.optimizer
        if not optimizer.built:
            optimizer.build(self.model.trainable_variables)
        self._settings = self.settings | settings_of(
            self.model, self.data, self.callbacks, self.params
        )
        self._begin = self._saved_at = time.perf_counter()
        self._cost = 0.0
        self._since = 0  # batches behind the last checkpoint
        self._end: contextlib.ExitStack | None = None
        self._pending = None
        self._torch = _torch_state()
        self._writes = is_first(self.model)
        if self._writes:
            self._check_folder()
        last = self._read_last()
        self._new = last is None  # has no checkpoint yet
        if last is not None:
            self.resumed, self._pending = last
            check_settings(
                self._pending["settings"], self._settings, self.resumed
            )
            self._restore_variables(self._pending)
            # As Keras' own `BackupAndRestore` does.
            self.model._initial_epoch = self._pending["epoch"]
            # Iterators over several devices read before the epoch begins.
            self.data.start_at(self._pending["epoch"], self._pending["step"])
        self._signals.hold()

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        self._epoch, self._offset = epoch, 0
        if self._pending is not None:
            self._offset = self._pending["step"]
            self._restore()
        self._step = self._offset
        self.data.start_at(epoch, self._offset)
        if self._new or self._stopping() or self._is_due():
            path = self._save(epoch, 0)
            if self._new and path is not None:
                _check_space(path)
            self._new = False
        self._stop_if_asked()

    def on_train_batch_begin(
        self, batch: int, logs: dict | None = None
    ) -> None:
        # Between epochs PyTorch's loader of data draws, more or less often.
        if batch == 0:
            _set_torch_state(self._torch)

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        step = min(self._offset + batch + 1, self.params["steps"])
        self._since += step - self._step
        self._step = step
        if step == self.params["steps"] or self.model.stop_training:
            self._torch = _torch_state()
            # What is left of the epoch is saved with its end.
            if self._offset and not self.model.stop_training:
                self._end_epoch()
        elif self._since >= self.every or self._stopping():
            self._torch = _torch_state()
            self._save(self._epoch, step)
            self._stop_if_asked()

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        if self.model.stop_training is _END_OF_EPOCH:
            self.model.stop_training = False
        if self._end is not None:
            self._end.close()
            self._end = None

    def on_train_end(self, logs: dict | None = None) -> None:
        self.model._initial_epoch = None
        if self._pending is not None:  # of a training that was over
            self._restore()
        else:
            self._save(self.params["epochs"], 0)
        stopping = self._stopping()
        if stopping:
            self._signals.act()
        self._signals.release()

    def _check_data(self):
        if not self.model.built:
            raise ValueError(
                "The model must be built before `fit`: call it on a batch. "
                f"Received: {type(self.model).__name__}, not built"
            )
        if not callable(getattr(self.data, "start_at", None)):
            raise ValueError(
                "`x` of `fit` (or `data` of Checkpoint, for a model of your "
                "own) must be data that can start at any batch, such as "
                f"`corpus.train`. Received: {type(self.data).__name__}"
            )
        if self.model.steps_per_execution != 1:
            raise ValueError(
                "`steps_per_execution` must be 1 with Checkpoint, which may "
                "go on from any batch. Received: "
                f"{self.model.steps_per_execution}"
            )
        batches = self.data.order["batches"]
        if self.params["steps"] != batches and self.params["epochs"] != 1:
            raise ValueError(
                "`steps_per_epoch` must be None with Checkpoint, or `epochs` "
                f"1. Received: {self.params['steps']} of {batches} batches, "
                f"for {self.params['epochs']} epochs"
            )

    def _check_folder(self):
        """Raises `OSError` if nothing can be written."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=self.folder):
            pass
        remove_temporary(self.folder)

    def _read_last(self):
        """What `read_last` gives the first process."""
        last, place, digest = None, (-1, -1), digest_of(self._settings)
        if self._writes:
            last = read_last(self.folder)
            if last is not None:
                place = last[1]["epoch"], last[1]["step"]
        *place, expected = of_the_first(self.model, [*place, digest]).tolist()
        if digest != expected:
            raise ValueError(
                "All processes must train the same model on the same corpus. "
                "Received: other settings than those of the first process"
            )
        if self._writes or place[0] < 0:
            return last
        path = checkpoint_path(self.folder, *place)
        return path, read_checkpoint(path)

    def _is_due(self):
        """Whether an epoch begins with a checkpoint."""
        now = time.perf_counter()
        cheap = now - self._saved_at > self._cost / SHARE
        due = self._since >= self.every or (self._since > 0 and cheap)
        # Clocks differ, and all processes take part in a checkpoint or none.
        return bool(of_the_first(self.model, [due])[0])

    def _stopping(self):
        return self._signals.received is not None

    def _stop_if_asked(self):
        if self._stopping():
            self._signals.act()

    def _end_epoch(self):
        """Ends an epoch that has not begun with its first batch.

        Keras would go on for as many batches as a whole one has.
        """
        last = self._epoch + 1 == self.params["epochs"]
        if last or not isinstance(self.data, keras.utils.PyDataset):
            self.model.stop_training = _END_OF_EPOCH
            return
        # Keras does not let a `PyDataset` begin an epoch before it has ended
        # one. So the data end here: on PyTorch by themselves; elsewhere the
        # callbacks would be told of another batch first.
        self._end = contextlib.ExitStack()
        self._end.enter_context(warnings.catch_warnings())
        warnings.filterwarnings("ignore", "Your input ran out of data")
        if keras.config.backend() != "torch":
            raise StopIteration

    def _variables(self):
        # On JAX, Keras puts the state of training back into the variables at
        # the end of an epoch only.
        if hasattr(self.model, "jax_state_sync"):
            self.model.jax_state_sync()
        return {
            "model": self.model.variables,
            "optimizer": self.model.optimizer.variables,
            "metrics": self.model.metrics_variables,
        }

    def _save(self, epoch: int, step: int) -> pathlib.Path | None:
        began = time.perf_counter()
        self.seconds += began - self._begin
        self._begin = began
        state = {
            "settings": self._settings,
            "epoch": epoch,
            "step": step,
            "seconds": self.seconds,
            "random": _random_state(),
            "torch": self._torch,
            "callbacks": [get_state(x) for x in self._stateful()],
        }
        for name, variables in self._variables().items():
            state[name] = [ops.convert_to_numpy(x) for x in variables]
        self._since = 0
        # All read their variables: some are spread over the processes.
        path = None
        if self._writes:
            path = write_checkpoint(self.folder, epoch, step, state)
        self._saved_at = time.perf_counter()
        self._cost = self._saved_at - began
        return path

    def _stateful(self):
        history = self.model.history
        return [*(x for x in self.callbacks if x is not history), history]

    def _restore(self):
        """Gives all back, as soon as no other callback begins anew."""
        state, self._pending = self._pending, None
        self.model._initial_epoch = None
        self._restore_variables(state)
        for callback, x in zip(
            self._stateful(), state["callbacks"], strict=True
        ):
            set_state(callback, x)
        _set_random_state(state["random"])
        self._say_where(state)
        self._torch = state["torch"]
        self.seconds = state["seconds"]

    def _say_where(self, state):
        if not self.verbose or not self._writes:
            return
        epoch, epochs = state["epoch"] + 1, self.params["epochs"]
        text = f"The training goes on with epoch {epoch} of {epochs}"
        if state["step"]:
            text += f", batch {state['step'] + 1}"
        if epoch > epochs:
            text = "The training was over"
        print(f"{text}: {self.resumed}", flush=True)

    def _restore_variables(self, state):
        for name, variables in self._variables().items():
            # Metrics begin anew with an epoch. Some are made in the first.
            if name == "metrics" and not state["step"]:
                continue
            values = state[name]
            old = [x.shape for x in values]
            new = [tuple(x.shape) for x in variables]
            if old != new:
                raise ValueError(
                    f"The variables of the {name} must have the shapes that "
                    f"they have in {self.resumed}: {old}. Received: {new}"
                )
            for variable, value in zip(variables, values):
                kind = ops.convert_to_numpy(variable).dtype
                if value.dtype != kind:
                    value = value.view(kind)
                variable.assign(value)


def _check_space(path):
    """Raises `OSError` unless two more of a checkpoint can be written."""
    size = path.stat().st_size
    if shutil.disk_usage(path.parent).free < 2 * size:
        raise OSError(
            errno.ENOSPC,
            f"No space for three checkpoints of {size:,} bytes",
            str(path.parent),
        )


def _random_state():
    """Of Python and of NumPy: initializers and users draw from them."""
    version, numbers, gauss = random.getstate()
    name, keys, *rest = np.random.get_state()
    return {
        "python": [version, np.array(numbers, np.uint32), gauss],
        "numpy": [name, keys, *rest],
    }


def _set_random_state(state):
    version, numbers, gauss = state["python"]
    random.setstate((version, tuple(numbers.tolist()), gauss))
    np.random.set_state(tuple(state["numpy"]))


def _torch_state():
    """Of PyTorch, which a dropout without a seed draws from; else empty.

    Of the processor, then of the GPUs.
    """
    if keras.config.backend() != "torch":
        return []
    import torch

    states = [torch.get_rng_state(), *torch.cuda.get_rng_state_all()]
    return [x.numpy() for x in states]


def _set_torch_state(states):
    if not states:
        return
    import torch

    cpu, *gpus = map(torch.from_numpy, states)
    torch.set_rng_state(cpu)
    torch.cuda.set_rng_state_all(gpus)
