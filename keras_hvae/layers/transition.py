"""One step of the latent chain: f_z."""

import keras
from keras import ops

from keras_hvae.arguments import check_choice, check_positive_int

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

    def __init__(self, units, kind="rnn", **kwargs):
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

    def build(self, context_shape, z_shape):
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

    def call(self, context, z):
        if self.kind == "rnn":
            # The cell wants rank 2; the prior asks for all sentences at once.
            width = (context.shape[-1], z.shape[-1])
            flat, _ = self.cell(
                ops.reshape(context, (-1, width[0])),
                [self.state(ops.reshape(z, (-1, width[1])))],
            )
            return ops.reshape(flat, (*ops.shape(z)[:-1], self.units))
        if self.kind == "sum":
            return ops.tanh(self.from_context(context) + self.from_z(z))
        both = ops.concatenate([context, z], axis=-1)
        proposal = self.proposal(both)
        if self.kind == "concat":
            return proposal
        gate = self.gate(both)
        return gate * proposal + (1.0 - gate) * self.linear(z)

    def compute_output_spec(self, context, z):
        return keras.KerasTensor(
            (*context.shape[:-1], self.units), dtype=self.compute_dtype
        )

    def get_config(self):
        return {
            **super().get_config(),
            "units": self.units,
            "kind": self.kind,
        }
