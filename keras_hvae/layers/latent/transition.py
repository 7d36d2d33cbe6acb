"""One step of the latent chain: f_z."""

import keras
from keras import ops

from keras_hvae.arguments import check_choice, check_positive_int
from keras_hvae.layers.float_weights import kernel_and_bias
from keras_hvae.layers.recurrent.gru_gates import next_state

TRANSITIONS = ("rnn", "concat", "sum", "gated")


@keras.saving.register_keras_serializable("keras_hvae")
class Transition(keras.layers.Layer):
    """t = f_z(context, z): combines a context with the previous latent.

    - `"rnn"`: a GRU cell with the context as input and W z as state;
    - `"concat"`: tanh(W [context; z]);
    - `"sum"`: tanh(W context + U z);
    - `"gated"`: g ⊙ tanh(W [context; z]) + (1 − g) ⊙ L z, with a gate
      g = sigmoid(V [context; z]) and L started as the identity, after the
      gated transition of Krishnan et al., 2017.

    Args:
        units: width of the result.
        kind: one of `"rnn"`, `"concat"`, `"sum"`, `"gated"`.

    Call arguments:
        context: tensor of shape `(..., H)`.
        z: tensor of shape `(..., d)`.

    Returns:
        A tensor of shape `(..., units)`.

    Raises:
        ValueError: if `units` is not an integer >= 1 or `kind` is unknown.

    Example:

    >>> t = Transition(5, "gated")(ops.ones((2, 3)), ops.ones((2, 4)))
    >>> tuple(t.shape)
    (2, 5)

    Reference:
        - [Krishnan et al., 2017](https://arxiv.org/abs/1609.09869)
    """

    def __init__(self, units: int, kind: str = "concat", **kwargs) -> None:
        super().__init__(**kwargs)
        check_positive_int(units=units)
        check_choice(TRANSITIONS, kind=kind)
        self.supports_masking = True
        self.units = units
        self.kind = kind

        def dense(name, **options):
            return keras.layers.Dense(
                units, dtype=self.dtype_policy, name=name, **options
            )

        if kind == "rnn":
            self.state = dense("state")
            self.cell = keras.layers.GRUCell(
                units, dtype=self.dtype_policy, name="cell"
            )
        elif kind == "sum":
            self.from_context = dense("from_context")
            self.from_z = dense("from_z", use_bias=False)
        else:
            self.proposal = dense("proposal", activation="tanh")
        if kind == "gated":
            self.gate = dense("gate", activation="sigmoid")
            self.linear = dense("linear", kernel_initializer="identity")

    def build(self, context_shape: tuple, z_shape: tuple) -> None:
        context, z = (None, context_shape[-1]), (None, z_shape[-1])
        both = (None, context[-1] + z[-1])
        if self.kind == "rnn":
            self.state.build(z)
            self.cell.build(context)
        elif self.kind == "sum":
            self.from_context.build(context)
            self.from_z.build(z)
        else:
            self.proposal.build(both)
        if self.kind == "gated":
            self.gate.build(both)
            self.linear.build(z)

    def call(
        self, context: keras.KerasTensor, z: keras.KerasTensor
    ) -> keras.KerasTensor:
        return self.step(self.prepare(context), z)

    def prepare(self, context: keras.KerasTensor) -> keras.KerasTensor:
        """What the context adds, for all sentences at once.

        Args:
            context: tensor of shape `(..., H)`.

        Returns:
            A tensor `(..., P)` to give to `step`, sentence by sentence.
        """
        if self.kind == "sum":
            return self.from_context(context)
        width = context.shape[-1]
        parts = [
            ops.matmul(context, kernel[:width]) + bias
            for kernel, bias in self._products(context.dtype)
        ]
        return ops.concatenate(parts, axis=-1)

    def step(
        self, prepared: keras.KerasTensor, z: keras.KerasTensor
    ) -> keras.KerasTensor:
        """The next hidden state: `(..., P)`, `(..., d)` to `(..., units)`."""
        if self.kind == "rnn":
            state = self.state(z)
            recurrent = ops.cast(self.cell.recurrent_kernel, state.dtype)
            bias = ops.cast(self.cell.bias, state.dtype)
            kept = ops.matmul(state, recurrent) + bias[1]
            return next_state(prepared, kept, state)
        if self.kind == "sum":
            return ops.tanh(prepared + self.from_z(z))
        from_z = [
            ops.matmul(z, kernel[-z.shape[-1] :])
            for kernel, _ in self._products(z.dtype)
        ]
        prepared = ops.split(prepared, len(from_z), axis=-1)
        sums = [x + y for x, y in zip(prepared, from_z)]
        proposal = ops.tanh(sums[0])
        if self.kind == "concat":
            return proposal
        gate = ops.sigmoid(sums[1])
        return gate * proposal + (1.0 - gate) * self.linear(z)

    def _products(self, dtype):
        """Kernel and bias of each product that the context is part of."""
        if self.kind == "rnn":
            weights = self.cell.kernel, self.cell.bias[0]
            return [[ops.cast(x, dtype) for x in weights]]
        dense = [self.proposal]
        if self.kind == "gated":
            dense.append(self.gate)
        return [kernel_and_bias(x, dtype) for x in dense]

    def compute_output_spec(
        self, context: keras.KerasTensor, z: keras.KerasTensor
    ):
        return keras.KerasTensor(
            (*context.shape[:-1], self.units), dtype=self.compute_dtype
        )

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "units": self.units,
            "kind": self.kind,
        }
