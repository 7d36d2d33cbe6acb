"""Text in, ids out, and back."""

from keras_hvae.text.counting import count_words
from keras_hvae.text.preprocessor import Preprocessor

__all__ = ["Preprocessor", "count_words"]
