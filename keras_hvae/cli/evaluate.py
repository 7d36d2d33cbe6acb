"""`keras-hvae evaluate`."""

import argparse
import itertools
import pathlib

from keras_hvae.cli.model_folder import (
    MOST_SENTENCES,
    load_model,
    trained_with,
)
from keras_hvae.cli.progress import on_terminal
from keras_hvae.files import check_folder, write_json

SPLIT_NAMES = {
    "all": "the whole corpus",
    "train": "the train split",
    "valid": "the valid split",
    "test": "the test split",
}


def evaluate(args: argparse.Namespace) -> None:
    import keras_hvae

    model = load_model(args.model)
    if args.json:
        check_folder(args.json)
    corpus = keras_hvae.data.load(
        args.corpus,
        vocabulary=model.preprocessor,
        key=args.key,
        batch_size=args.batch_size,
        max_words=model.preprocessor.max_words,
        max_sentences=trained_with(
            args.model, "max_sentences", 10, lowest=1, highest=MOST_SENTENCES
        ),
        seed=trained_with(args.model, "split_seed", 0),
    )
    print(corpus.report, flush=True)
    parts = {x: getattr(corpus, x) for x in ("train", "valid", "test")}
    parts = {name: x for name, x in parts.items() if x is not None}
    split = args.split or _default_split(args, corpus)
    print(f"Evaluating {SPLIT_NAMES[split]}.", flush=True)
    if split == "all":
        dataset = list(itertools.chain(*parts.values()))
    elif split in parts:
        dataset = parts[split]
    else:
        raise ValueError(
            f"`--split` must be all or one of {', '.join(parts)} for "
            f"{args.corpus}. Received: {split}"
        )
    vectors = args.vectors
    if vectors is not None:
        vectors = keras_hvae.evaluation.load_vectors(vectors)
    figures = keras_hvae.evaluation.evaluate(
        model,
        dataset,
        args.metrics,
        train=None if split in ("all", "train") else corpus.train,
        vectors=vectors,
        num_samples=args.num_samples,
        num_sentences=args.num_sentences,
        max_documents=args.max_documents,
        seed=args.seed,
        verbose=int(on_terminal()),
    )
    print(keras_hvae.evaluation.summary(figures))
    if args.json:
        write_json(args.json, figures)


def _default_split(args, corpus):
    """All of a file that the model was not trained on, else the test split."""
    trained_on = trained_with(args.model, "corpus_digest", "")
    if corpus.digest != trained_on and pathlib.Path(args.corpus).is_file():
        return "all"
    return "test"
