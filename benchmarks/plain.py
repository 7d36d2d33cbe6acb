"""The model without its fast paths, to compare with."""

from keras import layers, ops

from keras_hvae.ids import PAD_ID
from keras_hvae.layers import OutputSoftmax, Zipf
from keras_hvae.layers.recurrent import packed_gru


class PlainSoftmax(OutputSoftmax):
    """All logits of all positions at once, pads and all."""

    def build(self, hidden_shape, targets_shape=None):
        self.dense = layers.Dense(self.vocabulary_size, bias_initializer=Zipf())
        self.dense.build(hidden_shape)

    def nll(self, hidden, targets, training=False):
        return self.flat_nll(hidden, targets, targets != PAD_ID)

    def flat_nll(self, hidden, targets, mask, training=False):
        log_probs = ops.log_softmax(self.logits(hidden))
        own = ops.take_along_axis(log_probs, targets[..., None], axis=-1)
        return ops.where(mask, -own[..., 0], 0.0)

    def logits(self, hidden):
        return ops.cast(self.dense(hidden), "float32")


def do_not_pack():
    """From now on, GRUs are `keras.layers.GRU`, over pads too."""
    packed_gru._has_cudnn_gru = lambda: True
