"""Neural autoregressive density estimators."""

from collections.abc import Sequence

import keras
import numpy as np
from keras import ops

from keras_hvae.arguments import check_choice, check_positive_int
from keras_hvae.data import replicas
from keras_hvae.generative.autoregressive import Autoregressive
from keras_hvae.generative.conditionals import (
    BernoulliConditional,
    Conditional,
    MixtureConditional,
)
from keras_hvae.layers.recurrent.repeat import repeat
from keras_hvae.layers.vectors.nade_conditionals import NADEConditionals
from keras_hvae.layers.vectors.orderless_conditionals import (
    OrderlessConditionals,
)

LIKELIHOODS = ("bernoulli", "mixture")


@keras.saving.register_keras_serializable("keras_hvae")
class NADE(Autoregressive):
    """Neural autoregressive density estimator, of one order or of all.

    In one order: p(x_i | x_<i) has the parameters b_i + V_i h_i, h_i = f(c +
    Σ_{j<i} W_j x_j); see `layers.NADEConditionals`. With real numbers and
    mixtures of Gaussians it is a RNADE.

    `orderless=True`: a network gets what is observed and the mask of it, and
    gives the conditionals of all others; see `layers.OrderlessConditionals`.
    In training, how many are observed is uniform in 0 … D − 1, and so is which
    ones; the mean of the loss D / (D − Σ m) · Σ_i (1 − m_i) · −log p(x_i | m ⊙
    x) is −log p(x), averaged over all orders. `fit` reports that estimate.
    `log_prob` is of the mixture of some orders, a distribution too; it and
    `sample` take any part of x as observed.

    Args:
        dim: D.
        units: width of the hidden layers.
        orderless: see above.
        hidden_layers: how many, with `orderless`.
        likelihood: of a number: `"bernoulli"`, or `"mixture"` of Gaussians
            for real ones (give them with a mean near 0 and a variance near 1).
        components: of the mixtures.
        activation: f; if not given, `"sigmoid"`, or `"relu"` with `orderless`.
        order: see `Autoregressive`; not with `orderless`.
        seed: int for the masks of `orderless`, optional.

    Call arguments:
        x: `(B, D)`: zeros and ones (numbers between give the cross-entropy),
            or real numbers.

    Returns:
        A dict: `"nll"`, −log p(x) or its estimate, nats, float32 `(B,)`.

    Raises:
        ValueError: for an argument out of range, or data of another kind.

    Example: all x have a probability; two numbers are observed.

    >>> model = generative.NADE(3, units=4, orderless=True, seed=0)
    >>> bits = np.array(list(np.ndindex(2, 2, 2)))
    >>> round(float(np.exp(model.log_prob(bits, num_orders=2)).sum()), 4)
    1.0
    >>> observed = np.array([True, False, True])
    >>> x = model.sample(2, 0, given=np.array([1, 0, 0]), observed=observed)
    >>> x[:, observed].tolist()
    [[1.0, 0.0], [1.0, 0.0]]

    Reference:
        - [Larochelle and Murray, 2011](
          https://proceedings.mlr.press/v15/larochelle11a.html)
        - [Uria et al., 2013](https://arxiv.org/abs/1306.0186) (RNADE)
        - [Uria et al., 2014](https://arxiv.org/abs/1310.1757) (orderless)
    """

    def __init__(
        self,
        dim: int,
        units: int = 500,
        orderless: bool = False,
        hidden_layers: int = 1,
        likelihood: str = "bernoulli",
        components: int = 10,
        activation: str | None = None,
        order: Sequence[int] | None = None,
        seed: int | None = None,
        **kwargs,
    ) -> None:
        check_choice(LIKELIHOODS, likelihood=likelihood)
        check_positive_int(components=components, hidden_layers=hidden_layers)
        if orderless and order is not None:
            raise ValueError(
                "`order` must be None with `orderless=True`. Received: an order"
            )
        if not orderless and hidden_layers > 1:
            raise ValueError(
                "`hidden_layers` must be 1 without `orderless=True`. "
                f"Received: {hidden_layers}"
            )
        conditional: Conditional = BernoulliConditional()
        if likelihood == "mixture":
            conditional = MixtureConditional(components)
        super().__init__(dim, conditional, order, **kwargs)
        self.likelihood = likelihood
        self.components = components
        self.orderless = orderless
        self.seed = seed
        if orderless:
            self.conditionals = OrderlessConditionals(
                dim,
                units,
                hidden_layers,
                conditional.params_dim,
                activation or "relu",
                dtype=self.dtype_policy,
                name="conditionals",
            )
            self.seeds = keras.random.SeedGenerator(seed)
        else:
            self.conditionals = NADEConditionals(
                dim,
                units,
                conditional.params_dim,
                activation or "sigmoid",
                dtype="float32",  # it adds up D terms
                name="conditionals",
            )
        self.build((None, dim))

    def build(self, input_shape: tuple) -> None:
        self.conditionals.build(input_shape)

    # === One order ===

    def conditional_parameters(self, x: keras.KerasTensor) -> keras.KerasTensor:
        return self.conditionals(x)

    def draw_in_order(
        self,
        uniforms: keras.KerasTensor,
        given: keras.KerasTensor,
        observed: keras.KerasTensor,
    ) -> keras.KerasTensor:
        return self.conditionals.draw(
            self.conditional.sample, uniforms, given, observed
        )

    # === All orders ===

    def each(
        self, x: keras.KerasTensor, observed: keras.KerasTensor
    ) -> keras.KerasTensor:
        """log p(x_i | what is observed) of all i, `(B, D)`."""
        given = self.conditional.distribution(self.conditionals(x, observed))
        return given.log_prob(x[..., None])

    def call(
        self, x: keras.KerasTensor, training: bool | None = None
    ) -> dict[str, keras.KerasTensor]:
        if not self.orderless:
            return super().call(x, training=training)
        self.check_shape(x.shape)
        x = ops.cast(x, "float32")
        keys, count = (
            replicas.draw(
                keras.random.uniform,
                (ops.shape(x)[0], width),
                dtype="float32",
                seed=self.seeds,
            )
            for width in (self.dim, 1)
        )
        count = ops.cast(ops.floor(self.dim * count), "int32")  # 0 … D − 1
        observed = places(keys) < count
        others = ops.where(observed, 0.0, self.each(x, observed))
        left = self.dim - ops.cast(count[:, 0], "float32")
        nll = -ops.sum(others, axis=-1) * self.dim / left
        self.add_loss(ops.mean(nll))
        return {"nll": nll}

    def log_prob(
        self,
        x: np.ndarray,
        given: np.ndarray | None = None,
        observed: np.ndarray | None = None,
        num_orders: int = 1,
        seed: int = 0,
        batch_size: int = 256,
    ) -> np.ndarray:
        """log p(x), or of what is not observed given what is; exact.

        With `orderless`: log of the mean of p(x | order) over orders, D passes
        of the network for each.

        Args:
            x: array `(N, D)`.
            given: optional array `(D,)` or `(N, D)` that stands in place of x
                where `observed`; without it, x itself does.
            observed: optional bool array `(D,)`: then log p(others | these).
                In one order, they must be its first ones.
            num_orders: how many orders are mixed, with `orderless`.
            seed: int that gives the orders; of more orders the first are
                those of fewer.
            batch_size: how many at once.

        Returns:
            Nats, float64 `(N,)`.

        Raises:
            ValueError: for an argument out of range.
        """
        check_positive_int(num_orders=num_orders)
        if num_orders > 1 and not self.orderless:
            raise ValueError(
                "`num_orders` must be 1 without `orderless=True`. Received: "
                f"{num_orders}"
            )
        if observed is None:
            if given is not None:
                raise ValueError(
                    "`given` and `observed` must come together. Received: no "
                    "`observed`"
                )
            observed = np.zeros(self.dim, "bool")
        observed = np.asarray(observed)
        if observed.dtype != bool or observed.shape != (self.dim,):
            raise ValueError(
                f"`observed` must be bool of shape ({self.dim},). Received: "
                f"{observed.dtype} of shape {observed.shape}"
            )
        if given is not None:
            x = np.where(observed, given, x)
        x = self.check(x)
        self.check_observed(observed[None])
        count = int(observed.sum())
        if not self.orderless:
            return self.run(
                in_order,
                batch_size,
                x=x,
                first=np.full(len(x), count, "int32"),
            )["log_prob"]
        total = np.full(len(x), -np.inf)
        for order in self.orders(num_orders, seed):
            # Those that are observed come first.
            order = order[np.argsort(~observed[order], kind="stable")]
            place = np.argsort(order).astype("int32")
            value = self.run(
                along_an_order,
                batch_size,
                x=x,
                place=np.broadcast_to(place, x.shape),
                first=np.full(len(x), count, "int32"),
            )["log_prob"]
            total = np.logaddexp(total, value)
        return total - np.log(num_orders)

    def orders(self, num_orders: int, seed: int = 0) -> list[np.ndarray]:
        """Permutations of 0 … D − 1 that `log_prob` mixes."""
        rng = np.random.default_rng(seed)
        return [rng.permutation(self.dim) for _ in range(num_orders)]

    @property
    def num_uniforms(self) -> int:
        # An order for each x is drawn, too.
        return super().num_uniforms + self.dim * self.orderless

    def draw(
        self,
        uniforms: keras.KerasTensor,
        given: keras.KerasTensor,
        observed: keras.KerasTensor,
    ) -> dict[str, keras.KerasTensor]:
        if not self.orderless:
            return super().draw(uniforms, given, observed)
        keys, uniforms = uniforms[:, : self.dim], uniforms[:, self.dim :]
        uniforms = ops.reshape(
            uniforms, (-1, self.dim, self.conditional.num_uniforms)
        )
        place = places(ops.where(observed, -1.0, keys))

        def body(i, x):
            parameters = self.conditionals(x, place < i)
            new = self.conditional.sample(parameters, uniforms)
            return ops.where((place == i) & ~observed, new, x)

        x = ops.where(observed, given, 0.0)
        return {"x": repeat(self.dim, body, x)}

    def check_observed(self, observed: np.ndarray) -> None:
        if not self.orderless:
            super().check_observed(observed)

    def get_config(self) -> dict:
        config = super().get_config()
        if self.orderless:
            config["order"] = None
            config["hidden_layers"] = self.conditionals.hidden_layers
        return {
            **config,
            "units": self.conditionals.units,
            "orderless": self.orderless,
            "likelihood": self.likelihood,
            "components": self.components,
            "activation": keras.activations.serialize(
                self.conditionals.activation
            ),
            "seed": self.seed,
        }


def places(keys: keras.KerasTensor) -> keras.KerasTensor:
    """The place of each number among those of its row, int32, from 0."""
    return ops.cast(ops.argsort(ops.argsort(keys, axis=-1), axis=-1), "int32")


def in_order(
    model: NADE, x: keras.KerasTensor, first: keras.KerasTensor
) -> dict[str, keras.KerasTensor]:
    """Σ log p(x_i | x_<i) from place `first` `(B,)` on."""
    each = model.each_in_order(x)
    counts = ops.arange(model.dim) >= first[:, None]
    return {"log_prob": ops.sum(ops.where(counts, each, 0.0), axis=-1)}


def along_an_order(
    model: NADE,
    x: keras.KerasTensor,
    place: keras.KerasTensor,
    first: keras.KerasTensor,
) -> dict[str, keras.KerasTensor]:
    """Σ log p(x_i | those before it) of the i from place `first` on.

    Args:
        place: of each number in the order, `(B, D)`.
        first: how many are observed, `(B,)`.
    """

    def body(i, total):
        each = model.each(x, place < i)
        counts = (place == i) & (place >= first[:, None])
        return total + ops.sum(ops.where(counts, each, 0.0), axis=-1)

    total = ops.zeros_like(x[:, 0])
    return {"log_prob": repeat(model.dim, body, total)}
