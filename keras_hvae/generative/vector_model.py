"""The contract of models of vectors."""

import math
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_hvae.arguments import check_positive_int
from keras_hvae.inference.runner import Runner


class VectorModel(keras.Model):
    """A model of vectors or images, p(x): what all models here share.

    Data are arrays `(N, *shape)`. The loss is −log p(x), or a bound of it, in
    nats, averaged over the batch; it enters by `add_loss`, so that `compile`
    needs no `loss` and `fit` no targets. `fit` and `evaluate` report it as
    `nll`; of a model with latents whose log p(x) is not exact, as `nll` and
    `kl`.

    A subclass creates its layers, builds itself, and defines `log_density` (or
    `call`) and `draw`.

    Args:
        shape: of one x, a tuple of ints.
    """

    # Whether the numbers of an x are bits, in [0, 1], or any real ones.
    binary = True
    latent_dim = 0

    def __init__(self, shape: tuple[int, ...], **kwargs) -> None:
        # Densities are float32, and half precision would round x.
        super().__init__(autocast=False, **kwargs)
        self.shape = tuple(shape)
        self._nll = keras.metrics.Mean(name="nll")
        self._has_kl = bool(self.latent_dim) and not self.exact
        if self._has_kl:
            self._kl = keras.metrics.Mean(name="kl")
        self._runner = Runner(self)

    @property
    def dim(self) -> int:
        """D, how many numbers an x has."""
        return math.prod(self.shape)

    @property
    def exact(self) -> bool:
        """Whether log p(x) is known: then the model has a `log_prob`."""
        return type(self).log_density is not VectorModel.log_density

    # === What a subclass defines ===

    def log_density(self, x: keras.KerasTensor) -> keras.KerasTensor:
        """log p(x), nats, float32 `(B,)`, where it is exact."""
        raise NotImplementedError

    def draw(
        self,
        uniforms: keras.KerasTensor,
        given: keras.KerasTensor,
        observed: keras.KerasTensor,
    ) -> dict[str, keras.KerasTensor]:
        """A dict with `"x"`, draws given the numbers that are observed.

        Args:
            uniforms: numbers in [0, 1), `(B, num_uniforms)`.
            given: `(B, *shape)`, zeros where nothing is observed.
            observed: bool `(B, *shape)`.
        """
        raise NotImplementedError

    @property
    def num_uniforms(self) -> int:
        """How many uniform numbers `draw` takes for an x."""
        return self.dim

    def check_observed(self, observed: np.ndarray) -> None:
        """Raises `ValueError` if the model cannot draw given such a part."""

    # === Training ===

    def call(
        self, x: keras.KerasTensor, training: bool | None = None
    ) -> dict[str, keras.KerasTensor]:
        self.check_shape(x.shape)
        nll = -self.log_density(ops.cast(x, "float32"))
        self.add_loss(ops.mean(nll))
        return {"nll": nll}

    def fit(
        self, x: Any = None, *args: Any, **kwargs
    ) -> keras.callbacks.History:
        self._refuse_weights(kwargs)
        self._check_arrays(x)
        self._check_arrays(kwargs.get("validation_data"))
        return super().fit(x, *args, **kwargs)

    def evaluate(self, x: Any = None, *args: Any, **kwargs) -> Any:
        self._refuse_weights(kwargs)
        self._check_arrays(x)
        return super().evaluate(x, *args, **kwargs)

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: keras.KerasTensor | None = None,
        training: bool = True,
    ) -> keras.KerasTensor:
        """Sums the losses that were added; updates the metrics."""
        if y is not None or sample_weight is not None:
            raise ValueError(
                f"{type(self).__name__} takes batches of x only, no targets "
                "and no `sample_weight`. Received: a batch of several tensors"
            )
        loss = super().compute_loss(x, y, y_pred, sample_weight, training)
        self._nll.update_state(ops.stop_gradient(y_pred["nll"]))
        if self._has_kl:
            self._kl.update_state(ops.stop_gradient(y_pred["kl"]))
        return loss

    # === What users ask ===

    def log_prob(self, x: np.ndarray, batch_size: int = 256) -> np.ndarray:
        """log p(x), exact.

        Args:
            x: array `(N, *shape)`.
            batch_size: how many at once.

        Returns:
            Nats, float64 `(N,)`.

        Raises:
            NotImplementedError: if the model has none; the message names what
                it has.
            ValueError: for an array that is none of such x.
        """
        self._need_log_prob()
        return self.run(log_density, batch_size, x=self.check(x))["log_prob"]

    def bounds(self, x: np.ndarray, **options) -> dict[str, np.ndarray | None]:
        """What is known of log p(x).

        Args:
            x: array `(N, *shape)`.
            **options: of `log_prob`.

        Returns:
            A dict of `"lower"` and `"upper"` bounds and an `"estimate"`, nats,
            `(N,)`, or `None` where there is none. All three are log p(x)
            where it is exact.
        """
        value = self.log_prob(x, **options)
        return {"lower": value, "upper": value, "estimate": value}

    def sample(
        self,
        n: int,
        seed: int | None = None,
        given: np.ndarray | None = None,
        observed: np.ndarray | None = None,
        batch_size: int = 256,
    ) -> np.ndarray:
        """Draws n x, some of whose numbers may be given.

        Args:
            n: how many.
            seed: int that repeats the draws on every backend.
            given: array `(*shape)`, or one for each, `(n, *shape)`.
            observed: bool array of the same shape as `given`: True where an x
                is to have the number of `given`.
            batch_size: how many at once.

        Returns:
            float32 array `(n, *shape)`.

        Raises:
            ValueError: for an argument out of range.
        """
        check_positive_int(n=n)
        given, observed = self.check_given(n, given, observed)
        rng = np.random.default_rng(seed)
        uniforms = rng.random((n, self.num_uniforms), "float32")
        return self.run(
            draw,
            batch_size,
            uniforms=uniforms,
            given=given,
            observed=observed,
        )["x"].astype("float32")

    def encode(self, x: np.ndarray, batch_size: int = 256) -> np.ndarray:
        """What stands for x inside the model, `(N, latent_dim)`.

        Raises:
            NotImplementedError: if the model has no latents.
        """
        raise NotImplementedError(
            f"`encode` is for models with latents. Received: a "
            f"{type(self).__name__}"
        )

    def reconstruct(self, x: np.ndarray, batch_size: int = 256) -> np.ndarray:
        """x as the model writes it again, `(N, *shape)`.

        Raises:
            NotImplementedError: if the model has no latents.
        """
        raise NotImplementedError(
            f"`reconstruct` is for models with latents. Received: a "
            f"{type(self).__name__}"
        )

    # === For subclasses ===

    def run(
        self, function: Callable, batch_size: int, **inputs
    ) -> dict[str, np.ndarray]:
        """Runs `function(model, **inputs)`, compiled, batch by batch.

        Args:
            inputs: arrays of as many rows.

        Returns:
            A dict of arrays of as many rows; of those in float32, float64.
        """
        check_positive_int(batch_size=batch_size)
        rows = len(next(iter(inputs.values())))
        parts = {}
        for start in range(0, rows, batch_size):
            part = {
                key: value[start : start + batch_size]
                for key, value in inputs.items()
            }
            for key, value in self._runner.run(function, **part).items():
                parts.setdefault(key, []).append(value)
        joined = {key: np.concatenate(x) for key, x in parts.items()}
        return {
            key: x.astype("float64") if x.dtype == "float32" else x
            for key, x in joined.items()
        }

    def check_shape(self, shape: tuple, name: str = "x") -> None:
        """Raises `ValueError` unless it is that of a batch of x."""
        if tuple(shape[1:]) != self.shape:
            sizes = ", ".join(map(str, self.shape))
            raise ValueError(
                f"`{name}` must be of shape (N, {sizes}). Received: "
                f"{tuple(shape)}"
            )

    def check(self, x: Any, name: str = "x") -> np.ndarray:
        """An array of x, float32; `ValueError` if it is none."""
        x = ops.convert_to_numpy(x) if ops.is_tensor(x) else np.asarray(x)
        if x.dtype.kind not in "biuf":
            raise ValueError(
                f"`{name}` must be an array of numbers. Received: {x.dtype}"
            )
        self.check_shape(x.shape, name)
        if not len(x):
            raise ValueError(f"`{name}` must have a row. Received: none")
        if not np.isfinite(x).all():
            raise ValueError(
                f"`{name}` must be finite. Received: "
                f"{x[~np.isfinite(x)].flat[0]}"
            )
        if self.binary and not (x.min() >= 0 and x.max() <= 1):
            raise ValueError(
                f"`{name}` must be in [0, 1]. Received: {x.min()} to {x.max()}"
            )
        return x.astype("float32")

    def check_given(
        self, n: int, given: Any, observed: Any
    ) -> tuple[np.ndarray, np.ndarray]:
        """`given`, 0 where not observed, and `observed`, a row for each."""
        if (given is None) != (observed is None):
            missing = "given" if given is None else "observed"
            raise ValueError(
                "`given` and `observed` must come together. Received: no "
                f"`{missing}`"
            )
        if observed is None or given is None:
            shape = (n, *self.shape)
            return np.zeros(shape, "float32"), np.zeros(shape, "bool")
        observed, given = np.asarray(observed), np.asarray(given)
        if observed.dtype != bool or observed.shape != given.shape:
            raise ValueError(
                "`observed` must be bool of the shape of `given`, "
                f"{given.shape}. Received: {observed.dtype} of shape "
                f"{observed.shape}"
            )
        if given.shape == self.shape:
            given, observed = (
                np.broadcast_to(x, (n, *self.shape)) for x in (given, observed)
            )
        if len(given) != n:
            raise ValueError(
                f"`given` must have {n} rows, or be one x. Received: shape "
                f"{given.shape}"
            )
        # What is not observed may hold anything.
        given = self.check(np.where(observed, given, 0), "given")
        self.check_observed(observed)
        return given, observed

    def _need_log_prob(self):
        if not self.exact:
            raise NotImplementedError(
                f"The log-probability of a {type(self).__name__} is not known "
                "exactly: ask for its `bounds`. Received: `log_prob`"
            )

    def _refuse_weights(self, options):
        # Keras drops weights without targets.
        for name in ("sample_weight", "class_weight"):
            if options.get(name) is not None:
                raise ValueError(
                    f"`{name}` must be None: {type(self).__name__} takes "
                    f"batches of x only. Received: {name}"
                )

    def _check_arrays(self, x):
        if isinstance(x, (tuple, list)) and len(x):
            x = x[0]
        if isinstance(x, np.ndarray) or ops.is_tensor(x):
            self.check(x)


def log_density(
    model: VectorModel, x: keras.KerasTensor
) -> dict[str, keras.KerasTensor]:
    """A compiled step: `VectorModel.log_density`."""
    return {"log_prob": model.log_density(x)}


def draw(
    model: VectorModel,
    uniforms: keras.KerasTensor,
    given: keras.KerasTensor,
    observed: keras.KerasTensor,
) -> dict[str, keras.KerasTensor]:
    """A compiled step: `VectorModel.draw`."""
    return model.draw(uniforms, given, observed)
