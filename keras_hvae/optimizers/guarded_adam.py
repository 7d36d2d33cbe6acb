"""Adam that leaves out steps whose gradients are not finite."""

from typing import Any

import keras
from keras import ops

from keras_hvae.arguments import check_unused
from keras_hvae.data.replicas import sum_over_replicas


@keras.saving.register_keras_serializable("keras_hvae")
class GuardedAdam(keras.optimizers.Adam):
    """Adam that does nothing in a step with a NaN or an infinity.

    If the loss, or any gradient, is not finite, neither weights nor moments
    change. The step counts in `iterations`, on which schedules go by, and in
    the variable `skipped`. Other steps are those of Adam, bit by bit. Under
    `mixed_float16` Keras' scaling of the loss leaves out such steps before
    they come here, and counts none.

    Args:
        learning_rate: a float or a schedule.
        **kwargs: as of `keras.optimizers.Adam`, but for `weight_decay` and
            `gradient_accumulation_steps`, which know nothing of the guard.

    Raises:
        ValueError: if one of these two is given.

    Example:

    >>> weight = keras.Variable([1.0, 2.0])
    >>> optimizer = GuardedAdam(0.1)
    >>> optimizer.apply([np.array([0.5, np.nan], "float32")], [weight])
    >>> weight.numpy().tolist(), int(optimizer.skipped.numpy())
    ([1.0, 2.0], 1)
    """

    def __init__(
        self,
        learning_rate: float
        | keras.optimizers.schedules.LearningRateSchedule = 0.001,
        name: str = "guarded_adam",
        **kwargs,
    ) -> None:
        check_unused(kwargs, "weight_decay", "gradient_accumulation_steps")
        super().__init__(learning_rate, name=name, **kwargs)
        # 1 in a step with finite gradients, else 0. The mean over replicas:
        # a step counts where all of them have such.
        self._gate = self.add_variable(
            (), initializer="ones", aggregation="mean", name="gate"
        )
        self.skipped = self.add_variable(
            (),
            initializer="zeros",
            dtype="int32",
            aggregation="only_first_replica",
            name="skipped",
        )

    def scale_loss(self, loss: keras.KerasTensor) -> keras.KerasTensor:
        # Some gradients may be finite where the loss is not: none is then.
        factor = ops.where(ops.isfinite(loss), 1.0, float("nan"))
        factor = ops.stop_gradient(ops.cast(factor, loss.dtype))
        return super().scale_loss(loss * factor)

    def apply(self, grads: list, trainable_variables: Any = None) -> None:
        if not self.built and trainable_variables is not None:
            self.build(trainable_variables)
        # A sum is finite only if all that it is of is.
        real = [ops.convert_to_tensor(g) for g in grads if g is not None]
        sums = [ops.cast(ops.sum(g), "float32") for g in real]
        finite = ops.isfinite(sum(sums))
        self._gate.assign(ops.cast(finite, "float32"))
        # Those of the other replicas count, too.
        bad = sum_over_replicas(1.0 - ops.cast(finite, "float32"))
        self.skipped.assign_add(ops.cast(bad > 0, "int32"))
        grads = [
            None
            if g is None
            else ops.where(finite, ops.convert_to_tensor(g), 0.0)
            for g in grads
        ]
        super().apply(grads, trainable_variables)

    def update_step(
        self,
        gradient: keras.KerasTensor,
        variable: keras.Variable,
        learning_rate: keras.KerasTensor,
    ) -> None:
        # As in Keras 3.15, but for the gate. It multiplies what is a number
        # there, not a tensor, and so takes no time.
        kind = variable.dtype
        gate = ops.cast(ops.floor(self._gate), kind)
        gradient = ops.cast(gradient, kind)
        step = ops.cast(self.iterations + 1, kind)
        beta_1_power = ops.power(ops.cast(self.beta_1, kind), step)
        beta_2_power = ops.power(ops.cast(self.beta_2, kind), step)
        index = self._get_variable_index(variable)
        m, v = self._momentums[index], self._velocities[index]
        alpha = ops.cast(learning_rate, kind) * ops.sqrt(1 - beta_2_power)
        alpha = alpha / (1 - beta_1_power) * gate
        self.assign_add(m, ops.multiply(gradient - m, (1 - self.beta_1) * gate))
        self.assign_add(
            v,
            ops.multiply(ops.square(gradient) - v, (1 - self.beta_2) * gate),
        )
        if self.amsgrad:
            largest = self._velocity_hats[index]
            self.assign(largest, ops.maximum(largest, v))
            v = largest
        self.assign_sub(
            variable,
            ops.divide(ops.multiply(m, alpha), ops.sqrt(v) + self.epsilon),
        )
