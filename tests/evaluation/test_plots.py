import pytest

from keras_hvae.evaluation import plot_report

LATENTS = {
    "kl_by_position": [1.0, 2.0],
    "mean_variances": [0.5, 0.001],
    "active_units": 1,
}


@pytest.mark.parametrize("figures", [{}, LATENTS])
def test_marks_the_epoch_that_was_kept(tmp_path, figures):
    history = {"nll": [3.0, 1.0, 2.0], "kl": [1.0, 1.0, 1.0]}
    for epoch in (None, 2):
        path = tmp_path / f"{epoch}.svg"
        plot_report(path, history, figures, epoch)
        # Matplotlib tells what is written in comments.
        marked = "<!-- kept: epoch 2 -->" in path.read_text()
        assert marked == (epoch == 2)
