"""The report of a corpus: counts and notes."""

import dataclasses

from keras_hvae.data.sources import SPLITS
from keras_hvae.files import printable

ROWS = (
    "documents",
    "repeated",
    "windows",
    "sentences",
    "words",
    "tokens",
    "truncated",
    "dropped",
    "batches",
    "unknown",
    "real",
)


@dataclasses.dataclass(frozen=True)
class Report:
    """What a corpus holds; as a string, a table.

    Attributes:
        name: of the corpus.
        vocabulary_size: the number of ids.
        skipped: the number of documents without any sentence, left out.
        splits: for each split a dictionary with the numbers of `documents`,
            of those that are `repeated` (the train split has the same, word
            for word in the first window; of the train split: has it before),
            of `windows` that they are cut into, of `sentences`, `words` and
            `tokens` (words and one `[EOS]` per sentence) that are left, of
            `truncated` sentences and of the words `dropped` from them, of
            `batches`; and the shares of `unknown` words and of `real`
            positions, those that are not padding.
        notes: what is out of the ordinary, in sentences.
    """

    name: str
    vocabulary_size: int
    skipped: int
    splits: dict
    notes: tuple = ()

    def __str__(self):
        rows = list(next(iter(self.splits.values())))
        lines = [
            f"{printable(self.name)}: {self.vocabulary_size:,} ids",
            " " * 14 + "".join(f"{name:>12}" for name in self.splits),
        ]
        for row in rows:
            values = (split[row] for split in self.splits.values())
            label = _LABELS.get(row, row)
            lines.append(f"{label:<14}" + "".join(map(_cell, values)))
        if self.skipped:
            lines.append(f"{self.skipped:,} blank documents were left out.")
        return "\n".join([*lines, *self.notes])


def notes_of(splits: dict) -> tuple[str, ...]:
    """What is out of the ordinary about the rows of a `Report`."""
    notes = [
        f"The {split} split has no documents."
        for split in SPLITS
        if split not in splits
    ]
    for split, row in splits.items():
        if split != "train" and row.get("repeated"):
            notes.append(
                f"{row['repeated']:,} of the {row['documents']:,} documents of "
                f"the {split} split stand in the train split too, as the model "
                "reads them: figures of this split look better than they are. "
                "`load(..., drop_duplicates=True)` takes them out of the train "
                "split."
            )
    return tuple(notes)


_LABELS = {
    "repeated": "also in train",
    "truncated": "sentences cut",
    "dropped": "words cut off",
    "unknown": "unknown words",
    "real": "not padding",
}


def _cell(value):
    return f"{value:>12.1%}" if isinstance(value, float) else f"{value:>12,}"
