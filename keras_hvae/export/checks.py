"""Checks of requests in a graph, with a sentence for who has sent them."""

from collections.abc import Sequence

import tensorflow as tf

# Above, what must never be written may be; nobody wants it so hot.
HIGHEST_TEMPERATURE = 100.0
# Far above what a model's own latents are.
LARGEST_LATENT = 1e4
# So that one more is still a number.
MOST_SENTENCES = 2**30


def require(
    holds: "tf.Tensor", text: str, received: "tf.Tensor"
) -> "tf.Tensor":
    """A check: an InvalidArgumentError with a sentence unless all holds.

    Args:
        holds: bool tensor.
        text: what is expected.
        received: what came, of the same shape: what does not hold is shown.
    """
    wrong = tf.boolean_mask(
        tf.reshape(received, [-1]), tf.reshape(tf.logical_not(holds), [-1])
    )
    return tf.debugging.Assert(
        tf.reduce_all(holds), [f"{text} Received:", wrong], summarize=4
    )


def behind(checks: Sequence, *tensors: "tf.Tensor") -> list:
    """The tensors, which no operation gets before the checks have passed."""
    with tf.control_dependencies(checks):
        return [tf.identity(tensor) for tensor in tensors]


def same_length(rows: "tf.Tensor", **others) -> list:
    """Checks that the others have as many entries as there are rows."""
    return [
        require(
            tf.shape(tensor)[0] == tf.shape(rows)[0],
            f"`{name}` must have one entry for each row.",
            tf.shape(tensor)[0],
        )
        for name, tensor in others.items()
    ]


def for_each_row(rows: "tf.Tensor", **settings) -> list:
    """Settings of which one may be for all rows, such as a default."""
    count = tf.shape(rows)[0]
    lengths = {name: tf.shape(x)[0] for name, x in settings.items()}
    checks = [
        require(
            (length == count) | (length == 1),
            f"`{name}` must have one entry for each row, or one for all.",
            length,
        )
        for name, length in lengths.items()
    ]
    tensors = behind(checks, *settings.values())
    return [tf.broadcast_to(x, [count]) for x in tensors]


def checked_draw(
    rows: "tf.Tensor",
    seed: "tf.Tensor",
    temperature: "tf.Tensor",
    top_p: "tf.Tensor",
) -> list:
    """The settings of a draw for each row, behind their checks."""
    checks = [
        require(
            (temperature >= 0) & (temperature <= HIGHEST_TEMPERATURE),
            "`temperature` must be a number >= 0 and <= "
            f"{HIGHEST_TEMPERATURE:g}.",
            temperature,
        ),
        require(
            (top_p > 0) & (top_p <= 1), "`top_p` must be > 0 and <= 1.", top_p
        ),
    ]
    temperature, top_p = behind(checks, temperature, top_p)
    return for_each_row(
        rows, seed=checked_seed(seed), temperature=temperature, top_p=top_p
    )


def checked_seed(seed: "tf.Tensor") -> "tf.Tensor":
    """Seeds, behind the check that Python's have, too."""
    check = require(seed >= 0, "`seed` must be an int >= 0.", seed)
    return behind([check], seed)[0]


def checked_state(
    document: "tf.Tensor",
    z: "tf.Tensor",
    context: "tf.Tensor",
    state: "tf.Tensor",
    fingerprint: "tf.Tensor",
) -> list:
    """The state of a conversation, behind its checks."""
    lengths = same_length(document, z=z, context=context, state=state)
    z, context, state = behind(lengths, z, context, state)
    count, known = state[:, 0], state[:, 1]
    none = tf.reduce_all(state == 0, axis=1)
    checks = [
        require(
            none
            | (count >= 0) & (count <= MOST_SENTENCES) & (known == fingerprint),
            "`state` must be of an answer of this model, or zeros.",
            known,
        )
    ]
    for name, tensor, most in (
        ("z", z, LARGEST_LATENT),
        ("context", context, 1.0),  # a GRU's states
    ):
        # Before the first sentence there is nothing yet.
        most = tf.where(count == 0, 0.0, most)[:, None]
        checks.append(
            require(
                tf.abs(tensor) <= most,
                f"`{name}` must be of an answer of this model, or zeros "
                "where no sentence has been read.",
                tensor,
            )
        )
    return behind(checks, z, context, state)
