"""The reconstruction term of the loss, of steps of any kind."""

import keras
from keras import ops

from keras_hvae.data.replicas import own_loss
from keras_hvae.layers.reductions import count_documents


@keras.saving.register_keras_serializable("keras_hvae")
class StepNLL(keras.layers.Layer):
    """Adds −log p of all real steps to the model's loss and returns it.

    Summed over the steps of a sequence, averaged over the real sequences of
    the batch.

    Call arguments:
        log_prob: nats, tensor of shape `(B, n)`.
        mask: bool tensor of shape `(B, n)`, True where real.

    Returns:
        float32 tensor of shape `(B, n)`: nats; 0 where the mask is False.

    Example:

    >>> layer = StepNLL()
    >>> nll = layer(ops.array([[-1.0, -2.0]]), ops.array([[True, False]]))
    >>> float(nll[0, 0]), float(nll[0, 1]), float(layer.losses[0])
    (1.0, 0.0, 1.0)
    """

    def __init__(self, **kwargs) -> None:
        super().__init__(autocast=False, **kwargs)
        self.built = True

    def call(
        self, log_prob: keras.KerasTensor, mask: keras.KerasTensor
    ) -> keras.KerasTensor:
        nll = ops.where(mask, -ops.cast(log_prob, "float32"), 0.0)
        self.add_loss(own_loss(ops.sum(nll) / count_documents(mask)))
        return nll

    def compute_mask(self, *args, **kwargs):
        return None  # The mask is an argument of `call`; the result has none.

    def compute_output_spec(
        self, log_prob: keras.KerasTensor, mask: keras.KerasTensor
    ):
        return keras.KerasTensor(log_prob.shape, dtype="float32")
