"""
Title: Train on your own dialogues
Description: From a .jsonl file to a model that goes on with a dialogue.
Accelerator: none needed

    python own_dialogues.py [DIALOGUES.jsonl [KEY [EPOCHS]]]
"""

import itertools
import json
import pathlib
import sys

import keras

import keras_hvae

"""
## The file

A line is a JSON object, a dialogue, with the list of its turns under a key of
your choice. Without an argument we write such a file from the plays that ship
with the package: exchanges between two speakers.
"""

path, key, epochs = (*sys.argv[1:], *("", "turns", "5")[len(sys.argv) - 1 :])


def exchanges():
    import tensorflow_datasets as tfds

    import keras_hvae.data.shakespeare_scenes  # noqa: F401 (registers it)

    builder = tfds.builder("shakespeare_scenes")
    builder.download_and_prepare()
    for scene in tfds.as_numpy(builder.as_dataset("train")):
        turns = zip(scene["speakers"], scene["sentences"])
        for _, two in itertools.groupby(
            itertools.pairwise(turns),
            lambda pair: frozenset(speaker for speaker, _ in pair),
        ):
            two = list(two)
            texts = [two[0][0][1], *(second for _, (_, second) in two)]
            if len(texts) >= 3:
                yield [text.decode() for text in texts]


if not path:
    path = "dialogues.jsonl"
    with open(path, "w", encoding="utf-8") as file:
        for turns in exchanges():
            print(json.dumps({key: turns}), file=file)

"""
## Load, train, keep the best

Sentences longer than `max_words` are cut, documents longer than
`max_sentences` become several; the report says how many.
"""

keras.utils.set_random_seed(0)
corpus = keras_hvae.data.load(
    path, key=key, vocabulary_size=3000, max_words=20, max_sentences=8
)
print(corpus.report)
model = keras_hvae.HVAE(corpus.vocabulary, latent_dim=16, hidden_dim=96)
plan = keras_hvae.training.recipe(
    corpus, int(epochs), best_model="dialogues.keras"
)
model.compile(plan.optimizer)
model.fit(
    corpus.train,
    validation_data=corpus.valid,
    shuffle=False,  # the corpus shuffles itself
    epochs=plan.epochs,
    callbacks=plan.callbacks,
)

"""
## Use it
"""

best = keras.saving.load_model("dialogues.keras")
figures = keras_hvae.evaluation.evaluate(best, corpus.test)
print(keras_hvae.evaluation.summary(figures))
for turns in corpus.documents("test", limit=3):
    print("\nGiven:", *turns[:2], sep="\n  ")
    answer = best.generate(
        turns[:2], num_sentences=1, temperature=0.8, seed=1, max_words=20
    )
    print("Answer:", *answer, sep="\n  ")

"""
## Which dialogues are unlike the others?

The ELBO a word finds them.
"""

documents = corpus.documents("test")
scores = best.score(documents, seed=1)
per_word = scores["elbo"] / scores["tokens"]
print("\nLeast probable:", *documents[per_word.argmin()], sep="\n  ")
print(f"{pathlib.Path('dialogues.keras').stat().st_size:,} bytes saved")
