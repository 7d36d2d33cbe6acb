"""Figures of what a model writes."""

from collections.abc import Iterable, Mapping

import numpy as np

from keras_hvae.evaluation.batches import (
    content_seeds,
    draw_documents,
    read_batches,
)
from keras_hvae.evaluation.content_words import content_recall
from keras_hvae.evaluation.text.diversity import copied, distinct, self_bleu
from keras_hvae.evaluation.text.embedding_metrics import embedding_metrics
from keras_hvae.evaluation.text.ngram_perplexity import (
    forward_reverse_perplexity,
)
from keras_hvae.evaluation.text.text_overlap import corpus_bleu, nltk7
from keras_hvae.ids import EOS_ID, SPECIAL_TOKENS, UNK_ID
from keras_hvae.inference import compiled, randomness
from keras_hvae.models.document_model import DocumentModel

RESPONSES = 10  # a context, as in the papers with `nltk7`
BATCH = 32  # documents a call
MOST_TRAINING = 100_000  # sentences of the training data that are read
FREQUENT = 100  # words of the vocabulary, from the start, with little content


def reconstruction(
    model: DocumentModel,
    dataset: Iterable,
    max_documents: int | None = None,
    seed: int = 0,
) -> dict:
    """How well documents come back from their posterior means.

    Args:
        model: a model with latents.
        dataset: batches of ids `(B, n, m)`.
        max_documents: how many to draw (by their content); `None` for all.
        seed: of the draw.

    Returns:
        A dict: `"accuracy_teacher_forced"`, the share of the tokens
        (`[EOS]` counted) that are the most probable one after the true words
        before; `"accuracy_free_running"`, the share that greedy decoding
        writes at their place (`[UNK]` is never written: where it is true, both
        are wrong); `corpus_bleu`'s figures of it; `"distinct_sentences"`, how
        many different ones were written of `"sentences"`, and
        `"real_distinct_sentences"`, how many there were; `content_recall`'s
        figures, where the vocabulary's first 100 words (it is in the order of
        their frequency) and special tokens do not count; `"documents"`.

    Raises:
        ValueError: for a model without latents.

    Reference:
        - [Roberts et al., 2018](https://arxiv.org/abs/1803.05428), table 1
    """
    if not model.latent_dim:
        raise ValueError(
            "The reconstruction needs a model with latents. "
            f"Received: {type(model).__name__}"
        )
    documents = draw_documents(dataset, model.emission, max_documents, seed)
    # The same limit for all batches: a sentence without an end must not depend
    # on its batch. One more than the longest: the `[EOS]` added by the cut must
    # not count as right.
    longest = max(documents, key=lambda x: x.shape[1])
    words = model.emission.batch([longest]).shape[-1]
    step = model.runner.compiled(compiled.best_words)
    right = dict.fromkeys(("teacher_forced", "free_running"), 0)
    tokens, hypotheses, references = 0, [], []
    for start in range(0, len(documents), BATCH):
        ids = model.emission.batch(documents[start : start + BATCH])
        real = ids != 0
        noise = np.zeros((*ids.shape[:2], model.noise_dim), "float32")
        best = compiled.run_padded(step, {"x": ids, "noise": noise})
        right["teacher_forced"] += (best["token_ids"] == ids)[real].sum()
        written = model.runner.decode_ids(
            {"contexts": best["context"]},
            real.any(axis=-1),
            max_words=words,
            sampler="greedy",
            seeds=[(0, 0)] * len(ids),
            batch_size=BATCH,
        )
        size = min(written.shape[-1], ids.shape[-1])
        same = written[..., :size] == ids[..., :size]
        right["free_running"] += same[real[..., :size]].sum()
        tokens += real.sum()
        hypotheses += _words(written[real.any(axis=-1)])
        references += _words(ids[real.any(axis=-1)])
    return {
        **{f"accuracy_{k}": float(x / tokens) for k, x in right.items()},
        **corpus_bleu(hypotheses, references),
        "sentences": len(references),
        "distinct_sentences": len(set(map(tuple, hypotheses))),
        "real_distinct_sentences": len(set(map(tuple, references))),
        **content_recall(
            hypotheses,
            references,
            {
                *SPECIAL_TOKENS,  # `_words` gives `[UNK]` its name
                *map(str, range(len(SPECIAL_TOKENS) + FREQUENT)),
            },
        ),
        "documents": len(documents),
    }


def samples(
    model: DocumentModel,
    dataset: Iterable,
    train: Iterable | None = None,
    num_sentences: int = 1000,
    seed: int = 0,
) -> dict:
    """What documents from the prior are like: ancestral samples.

    Args:
        model: any model of the package.
        dataset: batches of ids, the real text to compare with.
        train: optional batches of training ids; without them there are no
            figures that need them.
        num_sentences: how many to write.
        seed: of the draws.

    Returns:
        A dict: figures of `distinct`, `self_bleu` and, with `train`, of
        `forward_reverse_perplexity` and `copied`; `"real_…"`: distinct and
        self-BLEU of as many real sentences.
    """
    real = _sentences(draw_documents(dataset, model.emission, None))
    length = max(1, round(len(real) / _count(dataset, model.emission)))
    written = model.runner.generate(
        None,
        length,
        seeds=randomness.row_seeds(seed, -(-num_sentences // length)),
        max_words=max(max(map(len, real)) - 1, 1),
        sampler="categorical",
        batch_size=BATCH,
    )
    written = _words(written.reshape(-1, written.shape[-1]))[:num_sentences]
    real = sorted(_words(real))
    rng = np.random.default_rng(seed)
    some = [real[i] for i in rng.permutation(len(real))[:num_sentences]]
    figures = {}
    for name, sentences in (("", written), ("real_", some)):
        both = distinct(sentences)
        if len(sentences) > 1:
            both |= self_bleu(sentences, len(sentences), seed)
        figures |= {name + key: x for key, x in both.items()}
    if train is not None:
        train = _words(_sentences(_first(train, model.emission, MOST_TRAINING)))
        figures |= forward_reverse_perplexity(written, train, real)
        figures |= copied(written, train)
    return figures


def responses(
    model: DocumentModel,
    dataset: Iterable,
    max_documents: int | None = None,
    vectors: Mapping[str, np.ndarray] | None = None,
    seed: int = 0,
) -> dict:
    """How responses compare with the last sentences of documents.

    The response to all sentences but the last: one by greedy decoding, and
    10 by ancestral sampling for the CVAE papers' figures.

    Args:
        model: any model of the package.
        dataset: batches of ids `(B, n, m)`.
        max_documents: how many to draw (by their content); `None` for all.
        vectors: optional word vectors, see `embedding_metrics`; for models
            with a vocabulary of words.
        seed: of the draws.

    Returns:
        A dict: figures of `corpus_bleu`, `distinct` and `embedding_metrics`
        of the greedy responses, of `nltk7` of the sampled ones; `"contexts"`.
    """
    documents = draw_documents(dataset, model.emission, max_documents, seed)
    documents = [x for x in documents if len(x) > 1]
    if not documents:
        raise ValueError(
            "`dataset` must have a document of at least two sentences for "
            "responses. Received: none"
        )
    references = _words([x[-1] for x in documents])
    contexts = model.emission.read(
        model.emission.batch([x[:-1] for x in documents])
    )

    def respond(sampler, seed):
        ids = model.runner.generate(
            contexts,
            1,
            seeds=content_seeds(
                [x[:-1] for x in documents], model.emission, seed
            ),
            max_words=max(max(x.shape[1] for x in documents) - 1, 1),
            sampler=sampler,
            batch_size=BATCH,
        )
        return _words(ids[:, 0])

    greedy = respond("greedy", seed)
    sampled = [respond("categorical", seed + i) for i in range(RESPONSES)]
    figures = {
        **corpus_bleu(greedy, references),
        **distinct(greedy),
        **nltk7(list(map(list, zip(*sampled))), references),
        "contexts": len(documents),
    }
    if vectors is not None:
        if model.preprocessor is None:
            raise ValueError(
                "`vectors` need a model with a vocabulary of words. "
                f"Received: a model of {model.vocabulary_size} ids"
            )
        words = list(model.preprocessor)
        written, wanted = (
            [[words[int(i)] for i in ids] for ids in sentences]
            for sentences in (greedy, references)
        )
        figures |= embedding_metrics(written, wanted, vectors)
    return figures


def _words(sentences):
    """Ids of sentences as lists of strings of ids, without `[EOS]`.

    `[UNK]` keeps its name: by it, the n-gram models count unknown words.
    """
    names = {UNK_ID: SPECIAL_TOKENS[UNK_ID]}
    return [
        [
            names.get(i, str(i))
            for i in ids[(ids != 0) & (ids != EOS_ID)].tolist()
        ]
        for ids in sentences
    ]


def _sentences(documents):
    return [ids for document in documents for ids in document]


def _first(dataset, emission, most):
    """Documents with that many sentences, from the start of a dataset."""
    documents, count = [], 0
    for ids in read_batches(dataset, emission):
        documents += [row[(row != 0).any(axis=-1)] for row in ids]
        count += (ids != 0).any(axis=-1).sum()
        if count >= most:
            break
    return documents


def _count(dataset, emission):
    return sum(
        int((ids != 0).any(axis=(1, 2)).sum())
        for ids in read_batches(dataset, emission)
    )
