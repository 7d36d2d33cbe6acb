import keras
import numpy as np
import pytest
from keras import ops

from keras_hvae.optimizers import AggressiveAdam

to_numpy = ops.convert_to_numpy
EAGERLY = keras.config.backend() != "jax"


def trained(model, optimizer, ids, gates=(1.0, 1.0, 1.0)):
    model.compile(optimizer, run_eagerly=EAGERLY)
    model.optimizer.build(model.trainable_variables)
    for gate in gates:
        if isinstance(optimizer, AggressiveAdam):
            optimizer.decoder_gate.assign(gate)
        model.train_on_batch(ids)
    return {x.path: to_numpy(x) for x in model.trainable_variables}


def is_decoder(path):
    return path.startswith(
        ("word_decoder/", "token_nll/", "latent_chain/lat2dec/")
    )


@pytest.mark.slow
def test_an_open_gate_is_adam(make_hvae, make_ids):
    expected, weights = (
        trained(make_hvae(seed=3), cls(0.01), make_ids())
        for cls in (keras.optimizers.Adam, AggressiveAdam)
    )
    for path, value in expected.items():
        np.testing.assert_allclose(
            weights[path], value, rtol=1e-4, atol=1e-5, err_msg=path
        )


def test_a_shut_gate_keeps_the_decoder_and_its_moments_go_on(
    make_hvae, make_ids
):
    model = make_hvae(seed=3)
    before = {x.path: to_numpy(x) for x in model.trainable_variables}
    optimizer = AggressiveAdam(0.01)
    after = trained(model, optimizer, make_ids(), gates=(0.0, 0.0))
    for path, value in before.items():
        assert (after[path] != value).any() != is_decoder(path), path
    slots = [x for x in optimizer.variables if is_decoder_slot(x)]
    assert len(slots) == 2 * sum(map(is_decoder, before))
    assert all(to_numpy(x).any() for x in slots)


def is_decoder_slot(variable):
    return variable.name.startswith(
        ("word_decoder_", "token_nll_", "latent_chain_lat2dec_")
    )


def test_other_layers_may_be_the_decoder(make_hvae, make_ids):
    model = make_hvae()
    before = {x.path: to_numpy(x) for x in model.trainable_variables}
    optimizer = AggressiveAdam(0.01, decoder=["lat2dec"])
    after = trained(model, optimizer, make_ids(), gates=(0.0,))
    stayed = {path for path in before if (before[path] == after[path]).all()}
    assert stayed == {
        "latent_chain/lat2dec/kernel",
        "latent_chain/lat2dec/bias",
    }


def test_config_and_saving(make_hvae, make_ids, tmp_path):
    optimizer = AggressiveAdam(0.01, decoder=("lat2dec",), clipnorm=1.0)
    again = AggressiveAdam.from_config(optimizer.get_config())
    assert again.get_config() == optimizer.get_config()
    model = make_hvae()
    trained(model, optimizer, make_ids(), gates=(1.0, 0.0))
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras").optimizer
    assert tuple(loaded.decoder) == ("lat2dec",)
    # All is as saved, but for the gate, which is open.
    for x, y in zip(loaded.variables, optimizer.variables, strict=True):
        expected = 1.0 if x is loaded.decoder_gate else to_numpy(y)
        np.testing.assert_array_equal(to_numpy(x), expected)


@pytest.mark.parametrize(
    "name", ["weight_decay", "gradient_accumulation_steps"]
)
def test_refuses_what_the_gate_would_not_stop(name):
    with pytest.raises(ValueError, match=f"`{name}` must be .* Received: 2"):
        AggressiveAdam(**{name: 2})


def test_refuses_names_of_no_layer(make_hvae):
    optimizer = AggressiveAdam(decoder=("decoder",))
    with pytest.raises(ValueError, match="`decoder` must .*decoder"):
        optimizer.build(make_hvae().trainable_variables)
