"""Writes words one after the other."""

import keras
import numpy as np
from keras import ops

from keras_hvae import samplers
from keras_hvae.ids import BOS_ID, EOS_ID, PAD_ID, UNK_ID

NEVER_WRITTEN = (PAD_ID, UNK_ID, BOS_ID)


def write(
    emission: keras.layers.Layer,
    context: keras.KerasTensor,
    uniforms: keras.KerasTensor,
    real: keras.KerasTensor,
    sampler: samplers.Sampler,
    softmax: keras.layers.Layer,
) -> keras.KerasTensor:
    """Words of each sentence: see `WordEmission.sample`."""
    batch, sentences, words = ops.shape(uniforms)
    rows = batch * sentences
    context = ops.reshape(context, (rows, context.shape[-1]))
    real = ops.reshape(real, (rows, 1))
    position = ops.arange(words + 1, dtype="int32")
    # The prompt: [BOS], then free positions. A row that is not real gets
    # [EOS] there, which stops it at once.
    prompt = ops.where(position == 0, BOS_ID, PAD_ID)
    blocked = ops.logical_and(ops.logical_not(real), position == 1)
    prompt = ops.where(blocked, EOS_ID, prompt)  # (R, k + 1)
    banned = never_written(emission.vocabulary_size)
    prepared = emission.word_decoder.prepare(context)

    def next(prompt, cache, index):
        words = emission.token_embedding(ops.take(prompt, index - 1, axis=1))
        state = emission.word_decoder.step(
            words, cache["prepared"], cache["state"]
        )
        logits = softmax.logits(state) + banned
        return logits, state, {**cache, "state": state}

    options = {}
    if isinstance(sampler, samplers.Sampler):
        uniforms = ops.reshape(uniforms, (rows, words))
        options["uniforms"] = ops.pad(uniforms, ((0, 0), (1, 0)))
    written = sampler(
        next,
        prompt,
        cache={
            "prepared": prepared,
            "state": emission.word_decoder.initial_state(context),
        },
        index=1,
        mask=blocked,
        stop_token_ids=(EOS_ID,),
        **options,
    )[:, 1:]
    # A user's sampler may write after the first stop token.
    ended = ops.cumsum(ops.cast(written == EOS_ID, "int32"), axis=-1)
    before = ended - ops.cast(written == EOS_ID, "int32") == 0
    written = ops.where(ops.logical_and(before, real), written, PAD_ID)
    # A sentence without an end is cut as a preprocessor cuts: `[EOS]` ends
    # it.
    last = ops.arange(words, dtype="int32") == words - 1
    runs_on = ops.logical_and(last, written != PAD_ID)
    written = ops.where(runs_on, EOS_ID, written)
    return ops.reshape(written, (batch, sentences, words))


def never_written(vocabulary_size: int) -> keras.KerasTensor:
    """What keeps some ids from being written, to add to logits: `(V,)`."""
    banned = np.zeros(vocabulary_size, "float32")
    banned[list(NEVER_WRITTEN)] = -1e9
    return ops.convert_to_tensor(banned)
