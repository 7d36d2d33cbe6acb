"""Many steps of the encoder to one of the decoder."""

from collections.abc import Iterable

import keras
import numpy as np
from keras import ops

from keras_hvae.arguments import check_positive_int
from keras_hvae.emissions import WordEmission
from keras_hvae.optimizers import AggressiveAdam

_STATE = ("best", "inner", "lowest", "open", "mark")


class AggressiveEncoder(keras.callbacks.Callback):
    """Trains the encoder ahead of the decoder while that helps.

    A posterior collapses where it lags behind the model's true one. So in
    aggressive training a loop of steps updates all but the decoder until
    the loss a token, over `check_every` batches, no longer falls, or
    `max_inner` steps are made; one step that updates everything follows, and
    the next loop. Every step takes a batch of `fit`'s own, so that an epoch
    has fewer steps of the decoder. After each epoch the mutual information
    of sentences and latents is measured; when it no longer rises, aggressive
    training is over, and all steps update everything. The epoch's logs have
    it as `mutual_information` until then.

    The model has to be compiled with an `optimizers.AggressiveAdam`. A
    training that goes on without a `training.Checkpoint` is aggressive again,
    for an epoch at least.

    Args:
        validation: batches of ids `(B, n, m)`, such as `corpus.valid`, to
            measure on, along the paths of the posterior means; or a function
            of the model that returns what is to rise.
        check_every: number of steps in a loop between two comparisons.
        max_inner: largest number of steps in a loop.
        seed: of the posterior draws of the measurement.

    Raises:
        ValueError: for an argument out of range; in `fit`, for another
            optimizer, or a model without words.

    Example:

    >>> ids = np.array([[[5, 6, 3], [7, 3, 0]]])
    >>> model = HVAE(20, latent_dim=2, embedding_dim=4, hidden_dim=8)
    >>> model.compile(keras_hvae.optimizers.AggressiveAdam())
    >>> aggressive = AggressiveEncoder([ids])
    >>> history = model.fit(ids, verbose=0, callbacks=[aggressive])
    >>> aggressive.aggressive
    True

    Reference:
        - [He et al., 2019](https://arxiv.org/abs/1901.05534)
    """

    _lowest: float
    _open: bool

    def __init__(
        self,
        validation: Iterable,
        check_every: int = 10,
        max_inner: int = 100,
        seed: int = 0,
    ) -> None:
        super().__init__()
        check_positive_int(check_every=check_every, max_inner=max_inner)
        self.validation = validation
        self.check_every = check_every
        self.max_inner = max_inner
        self.seed = seed
        self.aggressive = True
        self._best = float("-inf")
        self._mark = 0.0, 0.0
        self._start_loop()

    def on_train_begin(self, logs: dict | None = None) -> None:
        if not isinstance(self.model.emission, WordEmission):
            raise ValueError(
                "AggressiveEncoder needs a model of words: it compares losses "
                f"a token. Received: a {type(self.model.emission).__name__}"
            )
        optimizer = self.model.optimizer
        # Under mixed precision it is wrapped to scale the loss.
        optimizer = getattr(optimizer, "inner_optimizer", optimizer)
        if not isinstance(optimizer, AggressiveAdam):
            raise ValueError(
                "`optimizer` must be a keras_hvae.optimizers.AggressiveAdam. "
                f"Received: {optimizer.name}"
            )
        self._gate = optimizer.decoder_gate

    def get_state(self) -> dict:
        return {name: getattr(self, f"_{name}") for name in _STATE} | {
            "aggressive": self.aggressive
        }

    def set_state(self, state: dict) -> None:
        self.aggressive = state["aggressive"]
        for name in _STATE:
            setattr(self, f"_{name}", state[name])

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        self._mark = 0.0, 0.0  # the metrics are reset at each epoch

    def on_train_batch_begin(
        self, batch: int, logs: dict | None = None
    ) -> None:
        if self.aggressive and self._inner % self.check_every == 0:
            self._mark = self._totals()
        self._set_gate(float(self._open or not self.aggressive))

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        if not self.aggressive:
            return
        if self._open:
            self._start_loop()
            return
        self._inner += 1
        if self._inner % self.check_every == 0:
            loss, tokens = np.subtract(self._totals(), self._mark)
            loss /= max(tokens, 1.0)
            self._open = loss >= self._lowest
            self._lowest = loss
        self._open = self._open or self._inner >= self.max_inner

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        if not self.aggressive:
            return
        information = self._information()
        self.aggressive = information > self._best
        self._best = information
        if logs is not None:
            logs["mutual_information"] = information

    def on_train_end(self, logs: dict | None = None) -> None:
        self._set_gate(1.0)

    def _start_loop(self) -> None:
        self._inner, self._lowest, self._open = 0, float("inf"), False

    def _set_gate(self, value):
        self._sync()
        self._gate.assign(value)

    def _totals(self):
        """Loss and tokens of the epoch up to here, each summed."""
        self._sync()
        metrics = {x.name: x for x in self.model.metrics}
        totals = metrics["loss"].total, metrics["perplexity"].tokens
        return tuple(float(ops.convert_to_numpy(x)) for x in totals)

    def _sync(self):
        # On JAX, Keras puts the state of training back into the variables at
        # the end of an epoch only.
        if hasattr(self.model, "jax_state_sync"):
            self.model.jax_state_sync()

    def _information(self):
        """What is to rise: the mutual information, or the user's figure."""
        if callable(self.validation):
            return float(self.validation(self.model))
        from keras_hvae.evaluation.estimators.mutual_information import mi_full

        means, log_vars = [], []
        for ids in self.validation:
            ids = ops.convert_to_numpy(ids)
            ids = ids[(ids != 0).any(axis=(1, 2))]
            if len(ids):
                path = self.model.encode(ids)
                means.append(path["mean"][path["mask"]])
                log_vars.append(path["log_var"][path["mask"]])
        mean, log_var = np.concatenate(means), np.concatenate(log_vars)
        noise = np.random.default_rng(self.seed).standard_normal(mean.shape)
        return mi_full(mean, log_var, mean + np.exp(0.5 * log_var) * noise)
