"""Corpora: documents, sentence by sentence, as batches of ids."""

from keras_hvae.data.corpus import Corpus
from keras_hvae.data.id_batches import IdBatches
from keras_hvae.data.loading import load
from keras_hvae.data.reading import read_documents

__all__ = ["Corpus", "IdBatches", "load", "read_documents"]
