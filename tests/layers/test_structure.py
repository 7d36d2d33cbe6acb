"""What holds for every layer: one table, one function."""

import keras
import numpy as np
import pytest
from keras import ops, tree

from keras_hvae import layers

to_numpy = ops.convert_to_numpy
B, N, M, E, H, D, V = 3, 4, 5, 4, 6, 2, 10


def normal(*shape):
    return np.random.default_rng(len(shape)).standard_normal(shape, "float32")


MASK = np.arange(N) < np.array([[4], [2], [1]])
WORD_MASK = np.arange(M) < np.arange(B * N).reshape(B, N, 1) % (M + 1)
IDS = np.where(WORD_MASK, np.arange(M) + 4, 0).astype("int32")
LENGTHS = np.array([M, 2, 0], "int32")
GAPS = np.array([[0, 1, 1, 0, 1], [1, 0, 0, 0, 0], [0, 0, 0, 0, 0]], "bool")
GAUSSIAN_NAMES = ("z", "mean", "log_var", "prior_mean", "prior_log_var")
GAUSSIANS = {
    "mean": normal(B, N, D),
    "log_var": normal(B, N, D) / 2,
    "prior_mean": normal(B, N, D)[::-1].copy(),
    "prior_log_var": normal(B, N, D)[:, ::-1].copy(),
    "mask": MASK,
    "sample": normal(B, N, D) + 1,
}
CHAIN = {
    "contexts": normal(B, N, H),
    "backward": normal(B, H),
    "mask": MASK,
    "noise": normal(B, N, D),
}
# XLA takes seconds to compile what TensorFlow runs without.
JIT = keras.config.backend() == "jax"
GRU, DENSE, RATE = 3, 2, 4  # their numbers of weights


class Case:
    """A layer, its inputs, what it gives and what it is made of."""

    def __init__(
        self,
        cls,
        arguments,
        inputs,
        outputs,
        trainable=0,
        non_trainable=0,
        seeds=0,
        losses=0,
        float32=(),
    ):
        self.cls, self.arguments, self.inputs = cls, arguments, inputs
        self.outputs = outputs  # shapes by name, see `named`
        self.counts = trainable, non_trainable, seeds, losses
        self.float32 = float32  # outputs that stay so under mixed precision

    def make(self, **kwargs):
        return self.cls(**self.arguments, **kwargs)

    def functional(self, layer):
        inputs = {
            key: keras.Input(
                (None, *x.shape[2:]) if x.ndim > 2 else x.shape[1:],
                dtype=x.dtype.name,
                name=key,
            )
            for key, x in self.inputs.items()
        }
        return keras.Model(inputs, layer(**inputs))

    def train(self, layer):
        """The loss of a step with a small head for each of its outputs."""
        body = self.functional(layer)
        heads = [
            keras.layers.Dense(1, dtype="float32")(
                ops.cast(x, "float32")[..., None]
            )
            for x in tree.flatten(body.outputs)
        ]
        model = keras.Model(body.inputs, heads)
        # Adam, so that a weight with any gradient at all takes a step.
        model.compile("adam", loss=["mse"] * len(heads), jit_compile=JIT)
        targets = [
            np.ones((*self.outputs[name], 1), "float32")
            for name in sorted(self.outputs)
        ]
        # Without the pipeline of `fit`, which costs more than the step.
        return model.train_on_batch(self.inputs, targets, return_dict=True)


def named(outputs):
    """The outputs of a layer as a dict: its own, or by position."""
    if isinstance(outputs, tuple):
        return dict(enumerate(outputs))
    return outputs if isinstance(outputs, dict) else {0: outputs}


def chain_case(transition, weights, **arguments):
    shared = arguments.get("prior", "shared") == "shared"
    learned = 0 if shared else weights + 2 * DENSE
    norm = 2 * int("mean_norm" in arguments)
    return Case(
        layers.LatentChain,
        {"latent_dim": D, "units": 5, "transition": transition, **arguments},
        CHAIN,
        {
            "z": (B, N, D),
            "mean": (B, N, D),
            "log_var": (B, N, D),
            "prior_mean": (B, N, D),
            "prior_log_var": (B, N, D),
            "context": (B, N, H if shared else 5),
        },
        # t_1, f_z, the head, d_i, maybe the prior's own f_z and head, and the
        # shift of the means.
        trainable=DENSE + weights + 2 * DENSE + DENSE + learned + norm,
        non_trainable=2 + 2 * norm,  # the first prior, moving averages
        # Sampling's, and the GRU cell's for its dropout.
        seeds=1 + (transition == "rnn"),
        float32=("z", "mean", "log_var", "prior_mean", "prior_log_var"),
    )


CASES = {
    "sampling": Case(
        layers.Sampling,
        {"seed": 3},
        {"mean": normal(B, N, D), "log_var": normal(B, N, D)},
        {0: (B, N, D)},
        seeds=1,
    ),
    "gaussian_head": Case(
        layers.GaussianHead,
        {"latent_dim": D},
        {"hidden": normal(B, N, H)},
        {0: (B, N, D), 1: (B, N, D)},
        trainable=2 * DENSE,
        float32=(0, 1),
    ),
    **{
        f"kl_{mode}": Case(
            layers.DiagGaussianKL,
            {"kl_weight": 0.5, "free_bits": 2.0, "free_bits_mode": mode},
            GAUSSIANS,
            {0: (B, N)},
            non_trainable=1,
            losses=1,
            float32=(0,),
        )
        for mode in ("dimension", "sentence", "batch")
    },
    "kl_rate": Case(
        layers.DiagGaussianKL,
        {"kl_weight": 0.5, "rate": 2.0},
        GAUSSIANS,
        {0: (B, N)},
        non_trainable=1 + RATE,
        losses=1,
        float32=(0,),
    ),
    "minimum_rate": Case(
        layers.MinimumRate,
        {"rate": 2.0, "momentum": 0.9, "speed": 0.1, "gain": 1.0},
        {
            "kl": normal(B, N),
            **{
                key: GAUSSIANS[key]
                for key in ("sample", "mean", "log_var", "mask")
            },
        },
        {0: (B, N)},
        non_trainable=RATE,
        float32=(0,),
    ),
    "word_encoder": Case(
        layers.WordEncoder,
        {"units": H, "use_cudnn": False},
        {"words": normal(B, N, M, E), "mask": WORD_MASK},
        {0: (B, N, H)},
        trainable=GRU,
        seeds=1,
    ),
    "context_encoder": Case(
        layers.ContextEncoder,
        {"units": 5, "backward": "exclusive"},
        {"sentences": normal(B, N, H), "mask": MASK},
        {0: (B, N, 5), 1: (B, 5)},
        trainable=2 * GRU,
        seeds=2,
    ),
    **{
        f"transition_{kind}": Case(
            layers.Transition,
            {"units": 5, "kind": kind},
            {"context": normal(B, N, H), "z": normal(B, N, D)},
            {0: (B, N, 5)},
            trainable=weights,
            seeds=int(kind == "rnn"),
        )
        for kind, weights in (
            ("rnn", DENSE + GRU),
            ("concat", DENSE),
            ("sum", DENSE + 1),
            ("gated", 3 * DENSE),
        )
    },
    "chain_rnn": chain_case("rnn", DENSE + GRU, seed=1),
    "chain_gated_learned": chain_case(
        "gated", 3 * DENSE, prior="learned", initial_prior="empirical"
    ),
    "chain_mean_norm": chain_case("rnn", DENSE + GRU, mean_norm=0.5),
    "masked_dense": Case(
        layers.MaskedDense,
        {"mask": np.triu(np.ones((H, 5))).tolist(), "activation": "tanh"},
        {"inputs": normal(B, N, H)},
        {0: (B, N, 5)},
        trainable=DENSE,
    ),
    "nade_conditionals": Case(
        layers.NADEConditionals,
        {"dim": H, "units": 5, "params_dim": 2},
        {
            "x": normal(B, N, H),
            "hidden_shift": normal(B, N, 5),
            "shift": normal(B, N, H, 2),
        },
        {0: (B, N, H, 2)},
        trainable=2 * DENSE,
    ),
    "orderless_conditionals": Case(
        layers.OrderlessConditionals,
        {"dim": H, "units": 5, "hidden_layers": 2, "params_dim": 2},
        {"x": normal(B, H), "observed": normal(B, H) > 0},
        {0: (B, H, 2)},
        trainable=3 * DENSE,
        float32=(0,),
    ),
    "mean_norm": Case(
        layers.MeanNorm,
        {"scale": 0.5, "momentum": 0.9},
        {"mean": normal(B, D), "mask": MASK[:, 1:2]},
        {0: (B, D)},
        trainable=1,
        non_trainable=2,
        float32=(0,),
    ),
    "sentence_dropout": Case(
        layers.SentenceDropout,
        {"rate": 0.5, "seed": 2},
        {"sentences": normal(B, N, H)},
        {0: (B, N, H)},
        trainable=1,
        seeds=1,
    ),
    "no_sentence_dropout": Case(
        layers.SentenceDropout,
        {"rate": 0.0},
        {"sentences": normal(B, N, H)},
        {0: (B, N, H)},
    ),
    "bag_of_words": Case(
        layers.BagOfWords,
        {"vocabulary_size": V, "units": 5, "weight": 0.5},
        {"contexts": normal(B, N, H), "token_ids": IDS},
        {0: (B, N, H)},
        trainable=2 * DENSE,
        float32=(0,),
    ),
    "word_decoder": Case(
        layers.WordDecoder,
        {"units": H},
        {"words": normal(B, N, M, E), "contexts": normal(B, N, 5)},
        {0: (B, N, M, H)},
        trainable=DENSE + GRU,
        seeds=1,
    ),
    "token_nll": Case(
        layers.TokenNLL,
        {"vocabulary_size": V},
        {"hidden": normal(B, N, M, H), "targets": IDS},
        {0: (B, N, M)},
        trainable=DENSE,
        losses=1,
        float32=(0,),
    ),
    "adaptive_softmax": Case(
        layers.AdaptiveSoftmax,
        {"vocabulary_size": V, "cutoffs": [4, 7], "div_value": 2},
        {"hidden": normal(B, N, M, H), "targets": IDS},
        {0: (B, N, M)},
        trainable=DENSE + 2 * (1 + DENSE),
        losses=1,
        float32=(0,),
    ),
    "class_softmax": Case(
        layers.ClassSoftmax,
        {"vocabulary_size": V, "num_classes": 4},
        {"hidden": normal(B, N, M, H), "targets": IDS},
        {0: (B, N, M)},
        trainable=2 * DENSE,
        losses=1,
        float32=(0,),
    ),
    "svd_softmax": Case(
        layers.SVDSoftmax,
        {"vocabulary_size": V, "width": 3, "num_candidates": 4},
        {"hidden": normal(B, N, M, H)},
        {0: (B, N, M, V)},
        non_trainable=4,
        float32=(0,),
    ),
    **{
        name: Case(
            cls,
            {"vocabulary_size": V, "num_sampled": 5, "seed": 1},
            {"hidden": normal(B, N, M, H), "targets": IDS},
            {0: (B, N, M)},
            trainable=DENSE,
            seeds=1,
            losses=1,
            float32=(0,),
        )
        for name, cls in (
            ("sampled_softmax", layers.SampledSoftmax),
            ("one_vs_each", layers.OneVsEach),
            ("noise_contrastive", layers.NoiseContrastive),
        )
    },
    "packed_gru": Case(
        layers.PackedGRU,
        {"units": H, "use_cudnn": False},
        {"inputs": normal(B, M, E), "lengths": LENGTHS},
        {0: (B, H)},
        trainable=GRU,
        seeds=1,
    ),
    "packed_gru_sequences": Case(
        layers.PackedGRU,
        {"units": H, "return_sequences": True, "use_cudnn": False},
        {
            "inputs": normal(B, M, E),
            "lengths": LENGTHS,
            "beside": normal(B, D),
            "initial_state": normal(B, H),
        },
        {0: (B, M, H)},
        trainable=GRU,
        seeds=1,
    ),
    "masked_gru": Case(
        layers.MaskedGRU,
        {"units": H},
        {"inputs": normal(B, M, E), "mask": GAPS},
        {0: (B, H)},
        trainable=GRU,
        seeds=1,
    ),
    "masked_gru_sequences": Case(
        layers.MaskedGRU,
        {"units": H, "return_sequences": True},
        {
            "inputs": normal(B, M, E),
            "mask": GAPS,
            "beside": normal(B, D),
            "initial_state": normal(B, H),
        },
        {0: (B, M, H)},
        trainable=GRU,
        seeds=1,
    ),
    **{
        f"document_decoder_{scope}": Case(
            layers.DocumentDecoder,
            {"units": H, "scope": scope, "use_cudnn": False},
            {"words": normal(B, N, M, E), "mask": WORD_MASK},
            {0: (B, N, M, H)},
            trainable=GRU,
            seeds=1,
        )
        for scope in ("document", "sentence")
    },
    "sentence_latent": Case(
        layers.SentenceLatent,
        {"latent_dim": D, "units": 5, "seed": 2},
        {
            "past": normal(B, N, H),
            "sentences": normal(B, N, E),
            "noise": normal(B, N, D),
        },
        {name: (B, N, D) for name in GAUSSIAN_NAMES},
        trainable=2 * DENSE + 2 * 2 * DENSE,  # both t, both heads
        seeds=1,
        float32=GAUSSIAN_NAMES,
    ),
    "word_dropout": Case(
        layers.WordDropout,
        {"rate": 0.5, "seed": 2},
        {"token_ids": IDS},
        {0: (B, N, M)},
        seeds=1,
    ),
    "no_word_dropout": Case(
        layers.WordDropout, {"rate": 0.0}, {"token_ids": IDS}, {0: (B, N, M)}
    ),
}


def run_layer_test(case, tmp_path):
    """All that a layer of Keras has to keep to.

    Args:
        case: a `Case`.
        tmp_path: folder to save in.
    """
    # === Config ===
    layer = case.make(name="given_name")
    config = layer.get_config()
    assert case.arguments.items() <= config.items()
    registered = keras.saving.serialize_keras_object(layer)
    assert registered["registered_name"] == f"keras_hvae>{case.cls.__name__}"
    for again in (
        type(layer).from_config(config),
        keras.saving.deserialize_keras_object(registered),
    ):
        assert again.get_config() == config

    # === Saving ===
    model = case.functional(layer)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    seeds = [v for v in layer.non_trainable_variables if "seed" in v.path]
    states = [to_numpy(v) for v in seeds]
    # The layers that draw as well: their seed is in the configuration.
    for x, y in zip(
        tree.flatten(model(case.inputs, training=True)),
        tree.flatten(loaded(case.inputs, training=True)),
        strict=True,
    ):
        np.testing.assert_array_equal(to_numpy(x), to_numpy(y))

    # === Symbolic and eager calls ===
    # Several outputs must not be one and the same KerasTensor: a functional
    # model knows them by identity, and would give one value for all.
    for seed, state in zip(seeds, states):
        seed.assign(state)
    outputs = model(case.inputs)
    for seed, state in zip(seeds, states):
        seed.assign(state)  # the same draw once more
    eager = layer(**case.inputs)
    tree.map_structure(
        lambda x, y: np.testing.assert_allclose(
            to_numpy(x), to_numpy(y), rtol=1e-5, atol=1e-6
        ),
        outputs,
        eager,
    )
    tree.assert_same_structure(model.output, eager)
    symbolic, eager = named(model.output), named(eager)
    for name, shape in case.outputs.items():
        dtype = keras.backend.standardize_dtype(eager[name].dtype)
        assert symbolic[name].dtype == dtype
        assert tuple(eager[name].shape) == shape
        sequences = shape[:2] == (B, N) or shape[:-1] == (B, M)
        dynamic = 2 if sequences else 1
        assert symbolic[name].shape == (*[None] * dynamic, *shape[dynamic:])

    # === Variables and losses ===
    non_trainable = len(layer.non_trainable_weights)
    assert (
        len(layer.trainable_weights),
        non_trainable,
        # Variables that are not weights are the states of seed generators.
        len(layer.non_trainable_variables) - non_trainable,
        len(layer.losses),
    ) == case.counts

    # === Gradients ===
    before = [to_numpy(w) for w in layer.trainable_weights]
    assert np.isfinite(case.train(layer)["loss"])
    for weight, old in zip(layer.trainable_weights, before):
        assert (to_numpy(weight) != old).any(), weight.path


@pytest.mark.eager
@pytest.mark.parametrize("name", CASES)
def test_layer(name, tmp_path):
    run_layer_test(CASES[name], tmp_path)


# Of each family one: what is compiled is compared where a layer is tested.
@pytest.mark.parametrize(
    "name", ["chain_rnn", "masked_gru", "token_nll", "word_decoder"]
)
def test_layer_in_a_graph(name):
    case = CASES[name]
    assert np.isfinite(case.train(case.make())["loss"])


@pytest.mark.eager
@pytest.mark.parametrize("name", CASES)
def test_mixed_precision(name, mixed_float16):
    case = CASES[name]
    layer = case.make()
    for name, output in named(layer(**case.inputs)).items():
        dtype = keras.backend.standardize_dtype(output.dtype)
        if "int" not in dtype:
            half = name not in case.float32
            assert dtype == ("float16" if half else "float32")
        assert np.isfinite(to_numpy(output)).all()
    for loss in layer.losses:
        assert keras.backend.standardize_dtype(loss.dtype) == "float32"
    for weight in layer.weights:
        assert weight.dtype == "float32"
    assert np.isfinite(case.train(layer)["loss"])


@pytest.mark.parametrize(
    ("cls", "arguments", "culprit"),
    [
        (layers.GaussianHead, {"latent_dim": 0}, "`latent_dim`"),
        (layers.WordEncoder, {"units": -1}, "`units`"),
        (layers.WordEncoder, {"units": 2.0}, "`units`"),
        (layers.WordDecoder, {"units": True}, "`units`"),
        (layers.ContextEncoder, {"units": 0}, "`units`"),
        (layers.ContextEncoder, {"units": 2, "backward": "no"}, "`backward`"),
        (layers.Transition, {"units": 0}, "`units`"),
        (layers.Transition, {"units": 2, "kind": "lstm"}, "`kind`"),
        (layers.LatentChain, {"latent_dim": 0, "units": 2}, "`latent_dim`"),
        (layers.LatentChain, {"latent_dim": 2, "units": None}, "`units`"),
        (
            layers.LatentChain,
            {"latent_dim": 2, "units": 2, "prior": "no"},
            "`prior`",
        ),
        (
            layers.LatentChain,
            {"latent_dim": 2, "units": 2, "initial_prior": "no"},
            "`initial_prior`",
        ),
        *(
            (
                layers.LatentChain,
                {"latent_dim": 2, "units": 2, "mean_norm": scale},
                "`mean_norm`",
            )
            for scale in (0.0, -1.0, float("nan"))
        ),
        (layers.MeanNorm, {"scale": 0.0}, "`scale`"),
        (layers.MeanNorm, {"scale": 1.0, "momentum": 1.0}, "`momentum`"),
        (layers.SentenceDropout, {"rate": 1.0}, "`rate`"),
        (layers.BagOfWords, {"vocabulary_size": 9, "units": 0}, "`units`"),
        (
            layers.BagOfWords,
            {"vocabulary_size": 9, "units": 2, "weight": -1.0},
            "`weight`",
        ),
        (layers.DiagGaussianKL, {"kl_weight": -0.1}, "`kl_weight`"),
        (layers.DiagGaussianKL, {"free_bits": float("nan")}, "`free_bits`"),
        (layers.DiagGaussianKL, {"rate": float("nan")}, "`rate`"),
        (layers.MinimumRate, {"rate": 0}, "`rate`"),
        (
            layers.DiagGaussianKL,
            {"free_bits_mode": "no"},
            "`free_bits_mode`",
        ),
        (layers.TokenNLL, {"vocabulary_size": 0}, "`vocabulary_size`"),
        (layers.PackedGRU, {"units": 0}, "`units`"),
        (layers.MaskedGRU, {"units": 0}, "`units`"),
        (layers.DocumentDecoder, {"units": 2.0}, "`units`"),
        (layers.DocumentDecoder, {"units": 2, "scope": "no"}, "`scope`"),
        (layers.SentenceLatent, {"latent_dim": 0, "units": 2}, "`latent_dim`"),
        (layers.SentenceLatent, {"latent_dim": 2, "units": 0}, "`units`"),
        (layers.AdaptiveSoftmax, {"vocabulary_size": 0}, "`vocabulary_size`"),
        *(
            (
                layers.AdaptiveSoftmax,
                {"vocabulary_size": 9, "cutoffs": cutoffs},
                "`cutoffs`",
            )
            for cutoffs in ([], [0, 3], [3, 3], [5, 3], [9], [3, 20])
        ),
        (
            layers.AdaptiveSoftmax,
            {"vocabulary_size": 9, "div_value": 0.5},
            "`div_value`",
        ),
        (
            layers.SampledSoftmax,
            {"vocabulary_size": 9, "num_sampled": 0},
            "`num_sampled`",
        ),
        (layers.WordDropout, {"rate": 1.0}, "`rate`"),
        (layers.WordDropout, {"rate": -0.1}, "`rate`"),
    ],
)
def test_constructors_name_the_bad_argument(cls, arguments, culprit):
    with pytest.raises(ValueError, match=f"{culprit} must be .* Received: "):
        cls(**arguments)
