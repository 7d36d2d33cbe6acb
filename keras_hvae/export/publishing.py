"""Folders of numbered versions, each there whole or not at all."""

import contextlib
import errno
import pathlib
import re
import shutil
import tempfile
from collections.abc import Callable

from keras_hvae.arguments import check_positive_int
from keras_hvae.files import sync, sync_all


def versions(path: pathlib.Path) -> list[int]:
    """The version numbers in a folder, rising."""
    path = pathlib.Path(path)
    if not path.is_dir():
        return []
    return sorted(
        int(x.name)
        for x in path.iterdir()
        if re.fullmatch("[1-9][0-9]*", x.name) and x.is_dir()
    )


def publish(
    path: pathlib.Path, version: int | None, write: Callable
) -> pathlib.Path:
    """Makes the folder of a version: whole, or not at all.

    Args:
        path: folder of the model.
        version: int, or `None` for the next one.
        write: function of the folder to write in.
    """
    if version is not None:
        check_positive_int(version=version)
        if (path / str(version)).exists():
            raise _not_new(path, version)
    made = [x for x in (path, *path.parents) if not x.exists()]
    path.mkdir(parents=True, exist_ok=True)
    folder = None
    try:
        # No server looks at a name that is no number.
        folder = pathlib.Path(tempfile.mkdtemp(prefix=".new-", dir=path))
        folder.chmod(path.stat().st_mode & 0o777)
        write(folder)
        sync_all(folder)
        target = None
        while target is None:
            number = version or max(versions(path), default=0) + 1
            try:
                target = folder.rename(path / str(number))
            except OSError as error:
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                    raise
                if version is not None:  # made meanwhile
                    raise _not_new(path, version) from error
    except BaseException:
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)
        for new in made:
            with contextlib.suppress(OSError):
                new.rmdir()
        raise
    sync(path)
    return target


def _not_new(path, version):
    return ValueError(
        f"`version` must be new: there is {path / str(version)}. "
        f"Received: {version}"
    )
