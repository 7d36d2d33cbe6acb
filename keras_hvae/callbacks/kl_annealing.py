"""Schedules for the weight of the KL."""

import math

import keras

from keras_hvae.arguments import check_choice, check_positive_int
from keras_hvae.layers.latent.diag_gaussian_kl import DiagGaussianKL

SHAPES = ("linear", "sigmoid", "cyclical")


class KLAnnealing(keras.callbacks.Callback):
    """Raises the weight β of a model's KL from `start` to `end` by step.

    It is for any model with `layers.DiagGaussianKL`, and sets the
    `kl_weight` of each. Steps are batches, as the optimizer has counted
    them: a resumed training goes on where it was. An optimizer with
    `gradient_accumulation_steps` counts its updates, so β changes with each
    update. With s = step / `steps`:

    - `"linear"`: β grows with s, until s = 1;
    - `"sigmoid"`: β follows a logistic curve centred at s = ½, scaled to
      reach `start` at 0 and `end` at 1;
    - `"cyclical"`: `steps` is divided into `cycles`; in each β grows
      linearly in the first half and stays at `end` in the second.

    Args:
        steps: number of steps until β = `end`.
        schedule: `"linear"`, `"sigmoid"` or `"cyclical"`.
        start, end: first and last β, >= 0.
        cycles: number of cycles of `"cyclical"`.

    Raises:
        ValueError: for an argument out of range; in `fit`, if the model has
            no such layer.

    Example:

    >>> annealing = KLAnnealing(steps=100)
    >>> annealing.kl_weight(0), annealing.kl_weight(25)
    (0.0, 0.25)

    Reference:
        - [Bowman et al., 2016](https://arxiv.org/abs/1511.06349)
        - [Fu et al., 2019](https://arxiv.org/abs/1903.10145) (cyclical)
    """

    def __init__(
        self,
        steps: int,
        schedule: str = "linear",
        start: float = 0.0,
        end: float = 1.0,
        cycles: int = 4,
    ) -> None:
        super().__init__()
        check_positive_int(steps=steps, cycles=cycles)
        check_choice(SHAPES, schedule=schedule)
        if start < 0 or end < 0:
            raise ValueError(
                "`start` and `end` must be >= 0. "
                f"Received: start={start}, end={end}"
            )
        self.steps = steps
        self.schedule = schedule
        self.start = start
        self.end = end
        self.cycles = cycles

    def on_train_begin(self, logs: dict | None = None) -> None:
        self._weights = [
            layer.kl_weight
            for layer in self.model._flatten_layers()
            if isinstance(layer, DiagGaussianKL)
        ]
        if not self._weights:
            raise ValueError(
                "A model without latents has no KL to weigh: expected one "
                "with a `layers.DiagGaussianKL`. "
                f"Received: {type(self.model).__name__}"
            )

    def kl_weight(self, step: float) -> float:
        """β at a step."""
        s = min(step / self.steps, 1.0)
        if self.schedule == "sigmoid":
            low, high = _logistic(-6.0), _logistic(6.0)
            s = (_logistic(12.0 * s - 6.0) - low) / (high - low)
        elif self.schedule == "cyclical" and s < 1.0:
            s = min(2.0 * (s * self.cycles % 1.0), 1.0)
        return self.start + (self.end - self.start) * s

    def step(self) -> int:
        """The number of batches behind the updates so far."""
        # On JAX, Keras puts the state of training back into the variables at
        # the end of an epoch only; a callback of batches asks for it here.
        if hasattr(self.model, "jax_state_sync"):
            self.model.jax_state_sync()
        optimizer = self.model.optimizer
        # In half precision another one is wrapped.
        optimizer = getattr(optimizer, "inner_optimizer", optimizer)
        updates = int(keras.ops.convert_to_numpy(optimizer.iterations))
        return updates * (optimizer.gradient_accumulation_steps or 1)

    def on_train_batch_begin(
        self, batch: int, logs: dict | None = None
    ) -> None:
        kl_weight = self.kl_weight(self.step())
        for weight in self._weights:
            weight.assign(kl_weight)


def _logistic(x):
    return 1.0 / (1.0 + math.exp(-x))
