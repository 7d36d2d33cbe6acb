"""The folder that a training writes to until it has ended."""

import contextlib
import pathlib
import shutil
from types import TracebackType

from keras_hvae.files import check_folder, lock_file, replace_folder
from keras_hvae.models.loading import MODEL_FILE
from keras_hvae.training.checkpoint_files import find_checkpoints

CHECKPOINTS = "checkpoints"
LOCK = "lock"
UNFINISHED = (CHECKPOINTS, LOCK)


class WorkFolder:
    """A folder beside `out`, locked while this process lives.

    Where a training stops, what it can go on from and its best model stay
    there; if there is neither, the folder is removed.

    Args:
        out: where the training shall be at its end.
        files: names of the files that a training writes.
        resume: whether to go on with the training that is there.

    Attributes:
        path, checkpoints: of the folder, and of the checkpoints in it.

    Raises:
        ValueError: on entering, if there is a training to resume and `resume`
            is false, or the other way round, or files that are no training's.
        BlockingIOError: on entering, if another process trains in it.
        FileNotFoundError, PermissionError: on entering, if nothing can be
            written there.
    """

    def __init__(
        self, out: pathlib.Path, files: tuple[str, ...], resume: bool
    ) -> None:
        self.path = out.with_name(f"{out.name}.unfinished")
        self.checkpoints = self.path / CHECKPOINTS
        self._out, self._resume = out, resume
        self._files = {*files, *UNFINISHED}
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> "WorkFolder":
        check_folder(self.path)
        with self._stack as stack:
            # Not made for `--resume`, which it would then be there for.
            if not self._resume:
                self.path.mkdir(exist_ok=True)
            elif not self.path.is_dir():
                raise ValueError(
                    "`--resume` needs a training that has not ended. "
                    f"Received: {self._out}, and no {self.path}"
                )
            stack.enter_context(
                lock_file(self.path / LOCK, f"Another training of {self._out}")
            )
            self._check()
            self._stack = stack.pop_all()
        return self

    def _check(self):
        """Goes on, or begins with an empty folder."""
        names = {x.name for x in self.path.iterdir()}
        if others := sorted(names - self._files):
            raise ValueError(
                f"{self.path} must hold nothing but a training. "
                f"Received: {', '.join(others[:5])}"
            )
        self._found = found = find_checkpoints(self.checkpoints)
        if self._resume and not found:
            raise ValueError(
                "`--resume` needs a training that has not ended. "
                f"Received: {self.path}, without a checkpoint"
            )
        if not self._resume:
            if found or MODEL_FILE in names:
                raise ValueError(
                    f"{self.path} holds a training that has not ended: "
                    + "go on with it by `--resume`, or " * bool(found)
                    + "remove that folder to begin anew."
                )
            # Of a training that was killed before it began.
            for name in names - {LOCK}:
                self._remove(self.path / name)

    def finish(self, place: pathlib.Path) -> None:
        """Moves the folder to `place`; removes what is for the unfinished.

        In that order: a process that is killed in between leaves a whole model
        at its place, with something beside it.
        """
        replace_folder(self.path, place)
        for name in UNFINISHED:
            self._remove(place / name)

    @staticmethod
    def _remove(path):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with self._stack:
            if kind is None or not self.path.exists():
                return
            found = find_checkpoints(self.checkpoints)
            refused = issubclass(kind, ValueError)
            if self._resume and refused and found == self._found:
                return
            stopped = issubclass(kind, KeyboardInterrupt)
            # The first one has nothing that was trained.
            resumable = bool(found) and (stopped or len(found) > 1)
            best = (self.path / MODEL_FILE).exists()
            if resumable:
                print(
                    "\nThe training can go on: the same command with "
                    "`--resume`.",
                    flush=True,
                )
            if best:
                print(f"\nThe best model so far: {self.path}/.", flush=True)
            if resumable or best:
                text = f"Unfinished: {self.path}/."
                if self._out.exists():
                    text += f" {self._out} is as it was."
                print(text, flush=True)
            else:
                shutil.rmtree(self.path, ignore_errors=True)
