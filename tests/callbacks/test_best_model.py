import keras
import pytest

from keras_hvae.callbacks import BestModel


def test_keeps_the_lowest(make_hvae, make_ids, tmp_path):
    path = tmp_path / "best.keras"
    callback = BestModel(path, monitor="loss")
    model = make_hvae()
    callback.set_model(model)
    assert callback.best_epoch is None
    kept, epochs = [], []
    for epoch, loss in enumerate((2.0, 3.0, 1.0)):
        model.kl_weight.assign(loss)
        callback.on_epoch_end(epoch, {"loss": loss})
        epochs.append(callback.best_epoch)
        best = keras.saving.load_model(path)
        kept.append(float(keras.ops.convert_to_numpy(best.kl_weight)))
    assert kept == [2.0, 2.0, 1.0]
    assert epochs == [1, 1, 3]


def test_a_failing_save_leaves_the_last_good_model(make_hvae, tmp_path):
    path = tmp_path / "best.keras"
    path.write_bytes(b"good")
    callback = BestModel(path, monitor="loss")

    class Full:
        def save(self, temporary):
            temporary.write_bytes(b"ha")
            raise OSError("No space left on device")

    callback.set_model(Full())
    with pytest.raises(OSError, match="No space"):
        callback.on_epoch_end(0, {"loss": 1.0})
    assert path.read_bytes() == b"good"
    assert list(tmp_path.iterdir()) == [path]


def test_unknown_monitor(make_hvae, tmp_path):
    callback = BestModel(tmp_path / "best.keras")
    with pytest.raises(ValueError, match="`monitor`.*Received: 'val_loss'"):
        callback.on_epoch_end(0, {"loss": 1.0})


def test_a_model_that_carries_its_rate_is_better(make_hvae, tmp_path):
    path = tmp_path / "best.keras"
    callback = BestModel(path, monitor="loss")
    callback.set_model(make_hvae(rate=10.0))
    epochs = []
    for epoch, (rate, loss) in enumerate(
        [
            (0.0, 1.0),
            (6.0, 4.0),  # nearer to the rate
            (5.0, 3.0),
            (9.6, 3.0),  # there
            (12.0, 3.5),
            (9.9, 2.5),
            (8.0, 1.0),  # no more
        ]
    ):
        callback.on_epoch_end(epoch, {"loss": loss, "rate": rate})
        epochs.append(callback.best_epoch)
        state = callback.get_state()
        callback = BestModel(path, monitor="loss")
        callback.set_model(make_hvae(rate=10.0))
        callback.set_state(state)
    assert epochs == [1, 2, 2, 4, 4, 6, 6]
    assert callback.best == 2.5
