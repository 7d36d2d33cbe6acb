import keras
import numpy as np
import pytest
from keras import ops

from keras_hvae.callbacks import AutoencoderPretraining
from keras_hvae.layers import Zipf

pytestmark = pytest.mark.eager

to_numpy = ops.convert_to_numpy
EAGERLY = keras.config.backend() != "jax"


class Record(keras.callbacks.Callback):
    """β, decoder and slots as each batch is about to be trained with them."""

    def on_train_begin(self, logs=None):
        self.kl_weights, self.decoders, self.slots = [], [], []

    def on_train_batch_begin(self, batch, logs=None):
        model = self.model
        self.kl_weights.append(float(to_numpy(model.kl_weight)))
        self.decoders.append(decoder(model))
        self.slots.append(slots(model))


def decoder(model):
    layers = (
        model.emission.word_decoder,
        model.emission.token_nll,
        model.latent_chain.lat2dec,
    )
    weights = [x for layer in layers for x in layer.weights]
    return {x.path: to_numpy(x) for x in weights}


def encoder(model):
    return {
        x.path: to_numpy(x)
        for x in model.trainable_weights
        if x.path not in decoder(model)
    }


def slots(model):
    """By name: what the optimizer keeps for the weights."""
    return {
        x.name: to_numpy(x) for x in model.optimizer.variables if len(x.shape)
    }


def fit(model, ids, callbacks, **kwargs):
    options = {"batch_size": 2, "shuffle": False, "verbose": 0}
    model.fit(ids, callbacks=callbacks, **options, **kwargs)


def assert_same(x, y):
    assert x.keys() == y.keys()
    for key in x:
        np.testing.assert_array_equal(x[key], y[key], err_msg=key)


@pytest.fixture
def compiled(make_hvae):
    def make(optimizer=None, **kwargs):
        model = make_hvae(**kwargs)
        # A rate of 0: only the callback changes weights.
        model.compile(
            optimizer or keras.optimizers.Adam(0.0), run_eagerly=EAGERLY
        )
        return model

    return make


def test_kl_weight():
    pretraining = AutoencoderPretraining(4, annealing_steps=2, end=0.8)
    betas = [pretraining.kl_weight(step) for step in range(8)]
    assert betas == [0, 0, 0, 0, 0, 0.4, 0.8, 0.8]


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ((0, 1), "`steps` must be .* Received: 0"),
        ((1, 2.5), "`annealing_steps` must be .* Received: 2.5"),
        ((1, 1, -1), "`end` must be .*end=-1"),
    ],
)
def test_bad_arguments(arguments, match):
    with pytest.raises(ValueError, match=match):
        AutoencoderPretraining(*arguments)


@pytest.mark.slow
@pytest.mark.parametrize("softmax", ["full", "adaptive"])
def test_resets_the_decoder_once_in_the_midst_of_an_epoch(
    compiled, make_ids, softmax
):
    model, record = compiled(softmax=softmax), Record()
    old, kept = decoder(model), encoder(model)
    fit(model, make_ids(8), [AutoencoderPretraining(2, 2), record])
    assert record.kl_weights == [0.0, 0.0, 0.0, 0.5]
    before, last, first, then = record.decoders
    assert_same(before, old)
    assert_same(last, old)
    for key, value in first.items():
        assert (value != old[key]).any(), key
    # The reset is in what was trained on, and stays.
    assert_same(then, first)
    assert_same(decoder(model), first)
    assert_same(encoder(model), kept)


@pytest.mark.slow
def test_values_are_those_of_the_initializers(compiled, make_ids):
    model = compiled()
    fit(model, make_ids(4), [AutoencoderPretraining(1, 1)])
    bias = model.emission.token_nll.bias
    np.testing.assert_array_equal(to_numpy(bias), to_numpy(Zipf()(bias.shape)))
    assert not to_numpy(model.emission.word_decoder.state.bias).any()
    recurrent = to_numpy(model.emission.word_decoder.gru.cell.recurrent_kernel)
    np.testing.assert_allclose(  # orthogonal
        recurrent @ recurrent.T, np.eye(len(recurrent)), atol=1e-5
    )


@pytest.mark.slow
def test_slots_of_the_decoder_only_are_zeroed(compiled, make_ids):
    model, record = compiled(), Record()
    fit(model, make_ids(6), [AutoencoderPretraining(2, 2), record])
    for name, value in record.slots[2].items():
        of_decoder = name.startswith(
            ("word_decoder", "token_nll", "latent_chain_lat2dec")
        )
        assert value.any() != of_decoder, name
        assert record.slots[1][name].any(), name


@pytest.mark.slow
def test_a_tied_embedding_stays(compiled, make_ids):
    model = compiled(tie_embeddings=True)
    table = to_numpy(model.emission.token_embedding.embeddings)
    narrow = to_numpy(model.emission.token_nll.bottleneck.kernel)
    record = Record()
    fit(model, make_ids(4), [AutoencoderPretraining(1, 1), record])
    np.testing.assert_array_equal(
        to_numpy(model.emission.token_embedding.embeddings), table
    )
    assert (
        to_numpy(model.emission.token_nll.bottleneck.kernel) != narrow
    ).all()
    assert record.slots[1]["token_embedding_embeddings_momentum"].any()


@pytest.mark.slow
@pytest.mark.parametrize("epochs, resets", [(1, True), (2, False)])
def test_a_resumed_training_resets_no_second_time(
    compiled, make_ids, tmp_path, epochs, resets
):
    # Stopped just before the reset, and after it.
    ids, model = make_ids(4), compiled()
    fit(model, ids, [AutoencoderPretraining(2, 2)], epochs=epochs)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    loaded.compile(loaded.optimizer, run_eagerly=EAGERLY)
    old, record = decoder(loaded), Record()
    fit(loaded, ids, [AutoencoderPretraining(2, 2), record])
    steps = 2 * epochs
    betas = [AutoencoderPretraining(2, 2).kl_weight(steps + i) for i in (0, 1)]
    assert record.kl_weights == betas
    changed = record.decoders[0]["token_nll/bias"] != old["token_nll/bias"]
    assert changed.any() == resets


@pytest.mark.slow
def test_once_where_steps_take_several_batches(compiled, make_ids):
    # The counter stands at 1 for two batches.
    optimizer = keras.optimizers.Adam(0.0, gradient_accumulation_steps=2)
    model, record = compiled(optimizer), Record()
    fit(model, make_ids(10), [AutoencoderPretraining(1, 2), record])
    bias = [x["word_decoder/state/kernel"] for x in record.decoders]
    changed = [(x != y).any() for x, y in zip(bias, bias[1:])]
    assert changed == [False, True, False, False]
