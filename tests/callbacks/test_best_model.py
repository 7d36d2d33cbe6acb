import keras
import pytest

from keras_hvae.callbacks import BestModel


def test_keeps_the_lowest(make_hvae, make_ids, tmp_path):
    path = tmp_path / "best.keras"
    callback = BestModel(path, monitor="loss")
    model = make_hvae()
    callback.set_model(model)
    kept = []
    for loss in (2.0, 3.0, 1.0):
        model.kl_weight.assign(loss)
        callback.on_epoch_end(0, {"loss": loss})
        best = keras.saving.load_model(path)
        kept.append(float(keras.ops.convert_to_numpy(best.kl_weight)))
    assert kept == [2.0, 2.0, 1.0]


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


def test_a_kl_below_the_floor_is_no_gain(make_hvae, tmp_path):
    callback = BestModel(tmp_path / "best.keras", kl_floor=5.0)
    callback.set_model(make_hvae())
    for loss, kl, best in (
        (10.0, 1.0, 14.0),  # the latents are dead
        (11.0, 4.5, 11.5),
        (11.2, 9.0, 11.2),  # more than the floor is no gain either
        (10.5, 2.0, 11.2),
    ):
        callback.on_epoch_end(0, {"val_loss": loss, "val_kl": kl})
        assert callback.best == pytest.approx(best)


def test_a_floor_without_kl(make_hvae, tmp_path):
    callback = BestModel(tmp_path / "best.keras", kl_floor=5.0)
    with pytest.raises(ValueError, match="Received: 'val_kl'"):
        callback.on_epoch_end(0, {"val_loss": 1.0})
