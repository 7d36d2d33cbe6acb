"""The base class of distributions over the words."""

import abc

import keras
from keras import ops

from keras_hvae.arguments import check_positive_int
from keras_hvae.data.replicas import own_loss
from keras_hvae.ids import PAD_ID
from keras_hvae.layers.reductions import count_documents


class OutputSoftmax(keras.layers.Layer, abc.ABC):
    """−log p(target | h) of every real word, in nats.

    The sum over the words of a document, averaged over the real documents
    of the batch, is added to the model's loss with `add_loss`.

    Subclasses define `build`, `flat_nll` and `logits`.

    Args:
        vocabulary_size: number of ids, the special ones included.

    Call arguments:
        hidden: tensor of shape `(B, ..., H)`.
        targets: int tensor of shape `(B, ...)`; padding is id 0.

    Returns:
        float32 tensor of shape `(B, ...)`: nats; 0 at padding.

    Raises:
        ValueError: if `vocabulary_size` is not an integer >= 1.
    """

    def __init__(self, vocabulary_size: int, **kwargs) -> None:
        # Ids must not be cast to the policy's float dtype.
        super().__init__(autocast=False, **kwargs)
        check_positive_int(vocabulary_size=vocabulary_size)
        self.vocabulary_size = vocabulary_size
        if keras.config.backend() == "tensorflow":
            # XLA needs static sizes.
            self.supports_jit = False

    @abc.abstractmethod
    def flat_nll(
        self,
        hidden: keras.KerasTensor,
        targets: keras.KerasTensor,
        mask: keras.KerasTensor,
        training: bool = False,
    ) -> None:
        """nll of rows: `(N, H)`, `(N,)`, bool `(N,)` to float32 `(N,)`.

        0 where the mask is False. In training it may be another loss.
        """

    @abc.abstractmethod
    def logits(self, hidden: keras.KerasTensor) -> None:
        """float32 logits: `(..., H)` to `(..., vocabulary_size)`."""

    def nll(
        self,
        hidden: keras.KerasTensor,
        targets: keras.KerasTensor,
        training: bool = False,
    ) -> keras.KerasTensor:
        """What `call` returns, without adding a loss."""
        shape = ops.shape(targets)
        targets = ops.cast(ops.reshape(targets, (-1,)), "int32")
        hidden = ops.reshape(hidden, (-1, hidden.shape[-1]))
        mask = targets != PAD_ID
        if keras.config.backend() == "jax":  # static shapes
            nll = self.flat_nll(hidden, targets, mask, training)
        else:
            (index,) = ops.nonzero(mask)
            nll = self.flat_nll(
                ops.take(hidden, index, axis=0),
                ops.take(targets, index, axis=0),
                ops.take(mask, index, axis=0),
                training,
            )
            # Scattered back; padding reads an added last entry, 0.
            place = ops.cumsum(ops.cast(mask, "int32")) - 1
            place = ops.where(mask, place, ops.shape(index)[0])
            nll = ops.take(ops.pad(nll, ((0, 1),)), place, axis=0)
        return ops.reshape(nll, shape)

    def call(
        self,
        hidden: keras.KerasTensor,
        targets: keras.KerasTensor,
        training: bool = False,
    ) -> keras.KerasTensor:
        nll = self.nll(hidden, targets, training)
        loss = ops.sum(nll) / count_documents(targets != PAD_ID)
        self.add_loss(own_loss(loss))
        return nll

    def compute_mask(self, *args, **kwargs):
        return None  # A mask of the inputs is not needed here.

    def compute_output_spec(
        self,
        hidden: keras.KerasTensor,
        targets: keras.KerasTensor,
        training: bool = False,
    ):
        return keras.KerasTensor(targets.shape, dtype="float32")

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "vocabulary_size": self.vocabulary_size,
        }
