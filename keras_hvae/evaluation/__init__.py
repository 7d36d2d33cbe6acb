"""Honest figures of a model, and pictures of them."""

from keras_hvae.evaluation.advice import advise
from keras_hvae.evaluation.bounds import importance_bounds, particle_bounds
from keras_hvae.evaluation.content_words import content_recall
from keras_hvae.evaluation.estimators.bootstrap import paired_bootstrap
from keras_hvae.evaluation.estimators.importance import iwae, iwae_sweep
from keras_hvae.evaluation.estimators.kl_parts import (
    kl_parts,
    total_correlation,
)
from keras_hvae.evaluation.estimators.latents import (
    active_units,
    effective_rank,
    length_partners,
    mean_variances,
    shuffle_documents,
    spectrum,
)
from keras_hvae.evaluation.estimators.length_probe import length_r2
from keras_hvae.evaluation.estimators.mutual_information import (
    at_cap,
    mi_batch32,
    mi_full,
)
from keras_hvae.evaluation.estimators.particles import particle_bound
from keras_hvae.evaluation.evaluate import METRICS, evaluate
from keras_hvae.evaluation.plots import plot_report
from keras_hvae.evaluation.summary import summary
from keras_hvae.evaluation.text.diversity import copied, distinct, self_bleu
from keras_hvae.evaluation.text.embedding_metrics import (
    embedding_metrics,
    load_vectors,
)
from keras_hvae.evaluation.text.ngram_perplexity import (
    forward_reverse_perplexity,
    ngram_perplexity,
)
from keras_hvae.evaluation.text.text_overlap import corpus_bleu, nltk7
from keras_hvae.evaluation.writing import reconstruction, responses, samples

__all__ = [
    "METRICS",
    "active_units",
    "advise",
    "at_cap",
    "content_recall",
    "copied",
    "corpus_bleu",
    "distinct",
    "effective_rank",
    "embedding_metrics",
    "evaluate",
    "forward_reverse_perplexity",
    "importance_bounds",
    "iwae",
    "iwae_sweep",
    "kl_parts",
    "length_partners",
    "length_r2",
    "load_vectors",
    "mean_variances",
    "mi_batch32",
    "mi_full",
    "ngram_perplexity",
    "nltk7",
    "paired_bootstrap",
    "particle_bound",
    "particle_bounds",
    "plot_report",
    "reconstruction",
    "responses",
    "samples",
    "self_bleu",
    "shuffle_documents",
    "spectrum",
    "summary",
    "total_correlation",
]
