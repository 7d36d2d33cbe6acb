"""Documents that are read anew in each epoch, and must stay the same."""

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence

from keras_hvae.files import DamagedFileError


class Unchanged:
    """A function that reads documents, which compares each time it does.

    The first reading counts; later ones raise where they differ from it: at
    their begin, if the size or the time of a file is another and then what is
    in it, too; at a document too many; else at their end.

    Args:
        read: function that starts to read the documents.
        name: of what is read, for messages.
        paths: of the files that are read; none for what is no file.

    Attributes:
        documents, blank: the numbers of documents with and without sentences.
        digest: SHA-256 of the sentences and documents, hexadecimal.
    """

    def __init__(
        self,
        read: Callable[[], Iterator[list[str]]],
        name: str,
        paths: Sequence[str | os.PathLike] = (),
    ) -> None:
        self._read, self._name, self._paths = read, name, paths
        self._state = self._look()
        self.documents, self.blank, self.digest = self._count()

    def __call__(self) -> Iterator[list[str]]:
        state = self._look()
        if state != self._state:
            if self._count() != (self.documents, self.blank, self.digest):
                raise self._changed("others")
            self._state = state
        digest = hashlib.sha256()
        documents = 0
        for document in self._read():
            if document:
                documents += 1
                if documents > self.documents:
                    raise self._changed("more of them")
                add_document(digest, document)
            yield document
        if digest.hexdigest() != self.digest:
            few = documents < self.documents
            raise self._changed("fewer of them" if few else "others")

    def _look(self):
        """Size and time of the files."""
        stats = [os.stat(path) for path in self._paths]
        return [(x.st_size, x.st_mtime_ns) for x in stats]

    def _count(self):
        sizes = [0, 0]
        digest = hashlib.sha256()
        for document in self._read():
            sizes[not document] += 1
            if document:
                add_document(digest, document)
        return *sizes, digest.hexdigest()

    def _changed(self, received):
        return DamagedFileError(
            self._name,
            f"the {self.documents:,} documents that were there when the "
            "corpus was loaded",
            received,
        )


def add_document(digest: "hashlib._Hash", document: list[str]) -> None:
    """Adds a document to a digest."""
    # No sentence is empty or has a NUL, so that the joined text is
    # unambiguous.
    digest.update("\0".join([*document, "\0"]).encode())
