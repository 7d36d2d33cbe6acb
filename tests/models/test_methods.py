"""generate, reconstruct, encode, decode, interpolate, score.

Those on strings need TensorFlow for the preprocessor, on any backend.
"""

import functools

import keras
import numpy as np
import pytest
from keras import ops

from keras_hvae import samplers
from keras_hvae.ids import BOS_ID, EOS_ID, PAD_ID, UNK_ID
from keras_hvae.inference import compiled, randomness

WORDS = "a b c d e f g h i j k l m n o p".split()
TEXTS = [
    ["a b c d", "e", "f g", "h i j a b c d e"],
    ["p o n", "m"],
    ["k l"],
]
SAMPLERS = {
    "greedy": {},
    "categorical": {"temperature": 1.5},
    "top_p": {"top_p": 0.8},
    "beam": {"num_beams": 3},
}
D = 2


@pytest.fixture(scope="module")
def text_model(make_hvae):
    return make_hvae(WORDS, scale=1.0)


@pytest.fixture(scope="module")
def model(make_hvae):
    """The same without a preprocessor."""
    return make_hvae(20, scale=1.0)


@pytest.fixture(scope="module")
def ids(text_model):
    return text_model.preprocessor(TEXTS)


def latents(rows=3, sentences=2):
    rng = np.random.default_rng(0)
    return 2 * rng.standard_normal((rows, sentences, D), "float32")


def listed(ids):
    """The real sentences of each document, as lists of words."""
    return [
        [
            [int(w) for w in sentence if w]
            for sentence in document
            if sentence[0]
        ]
        for document in ids
    ]


# Each method with documents of any form and the options that all have.
METHODS = {
    "generate": lambda model, documents, **options: model.generate(
        documents, num_sentences=2, max_words=4, **options
    ),
    "reconstruct": lambda model, documents, **options: model.reconstruct(
        documents, max_words=4, **options
    ),
    "encode": lambda model, documents, **options: model.encode(
        documents, **options
    ),
    "score": lambda model, documents, **options: model.score(
        documents, num_samples=2, **options
    ),
}


def test_strings_in_strings_out(text_model):
    for write in ("generate", "reconstruct"):
        documents = METHODS[write](text_model, TEXTS, seed=0)
        lengths = [2, 2, 2] if write == "generate" else [4, 2, 1]
        assert [len(document) for document in documents] == lengths
        for document in documents:
            for sentence in document:
                assert isinstance(sentence, str)
                assert set(sentence.split()) <= set(WORDS)
                assert len(sentence.split()) <= 5
        assert any(s for document in documents for s in document)
    new = text_model.generate(num_documents=2, num_sentences=3, seed=0)
    assert [len(document) for document in new] == [3, 3]
    written = text_model.decode(latents(), max_words=4)
    assert [len(document) for document in written] == [2, 2, 2]


@pytest.mark.eager
def test_all_forms_of_a_document_are_one(text_model, ids):
    expected = text_model.encode(TEXTS)["mean"]
    forms = {
        "tuples": tuple(tuple(document) for document in TEXTS),
        "ids": ids,
        "lists of ids": ids.tolist(),
        "int64": ids.astype("int64"),
        "with blank sentences": [[*TEXTS[0], " ", ""], *TEXTS[1:]],
        "with unwritten pads": np.pad(ids, ((0, 0), (0, 3), (0, 2))),
    }
    for name, form in forms.items():
        out = text_model.encode(form)["mean"]
        np.testing.assert_allclose(out, expected, atol=1e-5, err_msg=name)
    text = text_model.encode("\n".join(TEXTS[0]))["mean"]
    np.testing.assert_allclose(text, expected[0], atol=1e-5)


@pytest.mark.parametrize("name", METHODS)
def test_one_document_in_one_result_out(text_model, ids, name):
    seed = {} if name == "encode" else {"seed": 1}
    many, one, alone = (
        METHODS[name](text_model, documents, **seed)
        for documents in ([TEXTS[0]], TEXTS[0], ids[0])
    )
    if name in ("encode", "score"):
        for key, x in one.items():
            np.testing.assert_array_equal(x, many[key][0])
            np.testing.assert_array_equal(x, alone[key])
    else:
        assert one == many[0] == alone


def test_ids_in_ids_out(model, ids):
    for name, lengths in (("generate", [2, 2, 2]), ("reconstruct", [4, 2, 1])):
        written = METHODS[name](model, ids, seed=0)
        assert written.shape == (3, max(lengths), 5)
        assert np.issubdtype(written.dtype, np.integer)
        real = (written != PAD_ID).any(-1)
        assert real.sum(-1).tolist() == lengths
        assert not np.isin(written, [UNK_ID, BOS_ID]).any()
        for sentence in written[real]:
            ends = np.flatnonzero(sentence == EOS_ID)
            assert len(ends) <= 1
            end = ends[0] + 1 if len(ends) else len(sentence)
            assert sentence[:end].all() and not sentence[end:].any()
    one = model.generate(ids[0], num_sentences=2, max_words=4, seed=0)
    assert one.shape == (2, 5)


def test_both_models_write_the_same(model, text_model, ids):
    written = METHODS["generate"](model, ids, seed=0)
    texts = METHODS["generate"](text_model, TEXTS, seed=0)
    assert text_model.preprocessor.detokenize(written) == texts


@pytest.mark.slow
@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("name", ["generate", "reconstruct", "decode", "new"])
def test_a_row_depends_on_its_seed_and_itself(model, ids, name, sampler):
    options = {"sampler": sampler, "max_words": 4, **SAMPLERS[sampler]}

    def write(rows, **more):
        if name == "decode":
            return model.decode(latents()[rows], **options, **more)
        if name == "new":
            return model.generate(
                num_documents=len(rows), num_sentences=2, **options, **more
            )
        if name == "generate":
            more["num_sentences"] = 2
        return getattr(model, name)(ids[rows], **options, **more)

    rows = [0, 1, 2]
    together = listed(write(rows, seed=[7, 8, 9]))
    assert listed(write(rows, seed=[7, 8, 9])) == together
    assert listed(write(rows, seed=[7, 8, 9], batch_size=1)) == together
    for row in rows:
        assert listed(write([row], seed=[7 + row])) == [together[row]]
    swapped = listed(write([2, 0], seed=[9, 7]))
    assert swapped == [together[2], together[0]]
    # An int is a seed for each row, whatever the batches are.
    counted = listed(write(rows, seed=5))
    assert listed(write(rows, seed=5, batch_size=2)) == counted
    assert listed(write([0], seed=5)) == counted[:1]
    assert listed(write([2, 1], seed=[(5, 2), (5, 1)])) == counted[:0:-1]
    # Another seed, another result: where anything is random.
    random = sampler in ("categorical", "top_p") or name in ("new", "generate")
    assert (listed(write(rows, seed=[17, 18, 19])) != together) == random


def test_equal_rows_of_one_seed_get_different_draws(model, ids):
    written = model.reconstruct(
        ids[[0, 0, 0, 0]], sampler="categorical", max_words=4, seed=0
    )
    assert len({str(x) for x in listed(written)}) > 1


@pytest.mark.slow
@pytest.mark.parametrize("name", ["encode", "score"])
def test_reading_does_not_depend_on_the_batch(model, ids, name):
    # But for rounding, which this model's large weights blow up a little.
    same = functools.partial(np.testing.assert_allclose, rtol=2e-4, atol=2e-4)
    seed = {"seed": [7, 8, 9]} if name == "score" else {}
    together = METHODS[name](model, ids, **seed)
    singly = METHODS[name](model, ids, batch_size=1, **seed)
    for key, x in together.items():
        same(singly[key], x)
    for row in range(3):
        seed = {"seed": [7 + row]} if name == "score" else {}
        alone = METHODS[name](model, ids[row : row + 1], **seed)
        for key, x in alone.items():
            expected = together[key][row]
            if x.ndim > 1 and key != "document":
                expected = expected[: x.shape[1]]
            same(x[0], expected)


def test_no_seed_is_fresh_entropy(model):
    options = {"num_documents": 4, "num_sentences": 2, "max_words": 4}
    first, second = (listed(model.generate(**options)) for _ in range(2))
    assert first != second


def test_generate_goes_on_from_the_last_latent(model, ids):
    options = {"num_sentences": 2, "max_words": 4, "sampler": "greedy"}
    seeds = [3, 3, 3]
    written = model.generate(ids, seed=seeds, **options)
    # By hand: the document's last mean, then the prior's chain.
    last = np.stack([ids_mean(model, x) for x in ids])
    noise = randomness.normals(randomness.row_seeds(seeds, 3), 2, D)
    z = model.latent_chain.roll_out(
        ops.convert_to_tensor(noise), ops.convert_to_tensor(last)
    )
    expected = model.decode(ops.convert_to_numpy(z), max_words=4)
    assert listed(written) == listed(expected)
    # Not the same as from nothing, with the same draws.
    assert listed(written) != listed(
        model.generate(num_documents=3, seed=seeds, **options)
    )


def ids_mean(model, document):
    """The posterior mean of a document's last sentence."""
    return model.encode(document)["mean"][(document != 0).any(-1).sum() - 1]


def test_more_sentences_and_words_begin_alike(model):
    options = {"num_documents": 30, "sampler": "categorical", "seed": 1}
    short = model.generate(num_sentences=2, max_words=3, **options)
    long = model.generate(num_sentences=4, max_words=6, **options)
    np.testing.assert_array_equal(short[..., :3], long[:, :2, :3])
    # What runs on ends as if it were read: after `max_words` and `[EOS]`.
    runs_on = (short[..., :3] != EOS_ID).all(axis=-1)
    assert runs_on.any() and not runs_on.all()
    np.testing.assert_array_equal(short[..., 3], np.where(runs_on, EOS_ID, 0))


def test_encode(model, ids):
    out = model.encode(ids)
    chain = model.infer(ids, ops.zeros((*ids.shape[:2], D)))
    mask = (ids != 0).any(-1)
    np.testing.assert_array_equal(out["mask"], mask)
    for key in ("mean", "log_var"):
        expected = ops.convert_to_numpy(chain[key]) * mask[..., None]
        np.testing.assert_allclose(out[key], expected, rtol=1e-4, atol=1e-5)
    for row, document in enumerate(out["document"]):
        np.testing.assert_allclose(
            document, out["mean"][row][mask[row]].mean(axis=0), rtol=1e-5
        )


def test_decode_of_encode_is_reconstruct(text_model):
    code = text_model.encode(TEXTS)
    written = text_model.decode(code["mean"], mask=code["mask"], max_words=5)
    assert written == text_model.reconstruct(TEXTS, max_words=5)
    one = text_model.encode(TEXTS[1])["mean"]
    assert text_model.decode(one, max_words=5) == written[1]


def test_decode_writes_where_the_mask_is_true(model):
    z, mask = latents(2, 3), np.array([[True, False, True], [False] * 3])
    everywhere = model.decode(z, max_words=4)
    written = model.decode(z, mask=mask, max_words=4)
    np.testing.assert_array_equal(written[mask], everywhere[mask])
    assert not written[~mask].any() and everywhere.any(-1).all()


def test_interpolate_runs_from_a_to_b(text_model):
    a, b = TEXTS[0], TEXTS[2]  # of four sentences and of one
    path = text_model.interpolate(a, b, steps=7, max_words=5)
    assert path[0] == text_model.reconstruct(a, max_words=5)
    assert path[-1] == text_model.reconstruct(b, max_words=5)
    assert [len(x) for x in path] == [4, 4, 3, 2, 2, 2, 1]
    back = text_model.interpolate(b, a, steps=7, max_words=5)
    assert back == path[::-1]


def test_interpolates_middle_is_the_mean_of_the_means(model, ids):
    a, b = ids[0, :2], ids[1, :2]
    path = model.interpolate(a, b, steps=3, max_words=4)
    means = [model.encode(x)["mean"] for x in (a, b)]
    middle = model.decode((means[0] + means[1]) / 2, max_words=4)
    assert listed(path)[1] == listed(middle[None])[0]
    assert path.shape == (3, 2, 5)


def test_score(model, ids):
    scores = model.score(ids, num_samples=3, seed=[4, 5, 6])
    mask = (ids != 0).any(-1)
    # The average of three draws with the row's own noise.
    seeds = randomness.row_seeds([4, 5, 6], 3)
    draws = [
        compiled.score(
            model,
            ops.convert_to_tensor(ids),
            ops.convert_to_tensor(randomness.normals(seeds, 4, D, sample)),
        )
        for sample in range(3)
    ]
    for key in ("nll", "kl"):
        expected = np.mean(
            [ops.convert_to_numpy(draw[key]) for draw in draws], axis=0
        )
        np.testing.assert_allclose(
            scores[f"sentence_{key}"], expected, rtol=1e-4, atol=1e-5
        )
    np.testing.assert_array_equal(scores["mask"], mask)
    assert scores["tokens"].tolist() == (ids != 0).sum((1, 2)).tolist()
    for key in ("nll", "kl", "elbo"):
        sentences = scores[f"sentence_{key}"]
        assert not sentences[~mask].any() and sentences[mask].all()
        np.testing.assert_allclose(scores[key], sentences.sum(1), rtol=1e-6)
    np.testing.assert_allclose(
        scores["elbo"], -(scores["nll"] + scores["kl"]), rtol=1e-6
    )
    assert len(np.unique([ops.convert_to_numpy(x["nll"]) for x in draws])) > 20


def test_score_of_strings(text_model, ids):
    scores = text_model.score(TEXTS, seed=0)
    for key, x in text_model.score(ids, seed=0).items():
        np.testing.assert_array_equal(scores[key], x)
    one = text_model.score(TEXTS[1], seed=0)
    assert one["elbo"].shape == () and one["sentence_elbo"].shape == (2,)
    assert one["tokens"] == 6


def test_unknown_words_are_counted_and_warned_of(text_model):
    documents = [["a b c", "x"], ["d e f g"]]
    for method in ("encode", "score"):
        read = getattr(text_model, method)
        assert read(documents)["unknown"].tolist() == [1, 0]
        with pytest.warns(UserWarning, match="67% of the words are not in"):
            assert read(["x y a"])["unknown"] == 2
    options = {"max_words": 2}
    with pytest.warns(UserWarning, match="100% of the words are not in"):
        text_model.reconstruct(["x"], **options)
    with pytest.warns(UserWarning, match="100% of the words are not in"):
        text_model.generate(["x"], num_sentences=1, seed=0, **options)
    with pytest.warns(UserWarning, match="100% of the words are not in"):
        text_model.interpolate(["x"], ["a"], 2, **options)


@pytest.mark.slow
def test_beta_and_free_bits_do_not_change_a_score(make_hvae, ids):
    plain = make_hvae(20)
    other = make_hvae(20, kl_weight=0.1, free_bits=30.0, word_dropout=0.9)
    other.set_weights(
        [
            value if "kl_weight" not in weight.path else np.float32(0.1)
            for weight, value in zip(plain.weights, plain.get_weights())
        ]
    )
    expected = plain.score(ids, seed=0)
    for key, x in other.score(ids, seed=0).items():
        np.testing.assert_array_equal(x, expected[key])


@pytest.mark.slow
def test_greedy_and_beam_find_probable_sentences(model):
    # By the decoder itself: a wide beam's sentence has no larger nll than the
    # greedy one, sentence by sentence, if both have come to an end.
    z = latents(8, 2)
    nlls = []
    for sampler in ("greedy", "beam"):
        ids = model.decode(z, sampler=sampler, max_words=6)
        nll = compiled.nll_given_z(
            model, ops.convert_to_tensor(ids), ops.convert_to_tensor(z)
        )["nll"]
        nlls.append(ops.convert_to_numpy(nll))
    assert (nlls[1] <= nlls[0] + 1e-4).mean() > 0.8
    assert nlls[1].sum() < nlls[0].sum()


@pytest.mark.slow
def test_methods_see_new_weights(make_hvae, ids):
    # They are compiled once: the weights must not be constants in there.
    model = make_hvae(20, scale=1.0)
    before = model.score(ids, seed=0)["nll"]
    written = listed(model.reconstruct(ids, max_words=4))
    for weight in model.trainable_weights:
        weight.assign(-1.0 * weight)
    assert (model.score(ids, seed=0)["nll"] != before).all()
    assert listed(model.reconstruct(ids, max_words=4)) != written


@pytest.mark.slow
def test_methods_leave_no_trace_in_the_model(make_hvae, ids, tmp_path):
    model = make_hvae(20)
    paths = [v.path for v in model.variables]
    state = [ops.convert_to_numpy(v) for v in model.variables]
    for method in METHODS.values():
        method(model, ids)
    assert [v.path for v in model.variables] == paths
    for variable, value in zip(model.variables, state):
        np.testing.assert_array_equal(ops.convert_to_numpy(variable), value)
    model.save(tmp_path / "model.keras")
    keras.models.load_model(tmp_path / "model.keras")


class Rambling:
    """A sampler behind KerasHub's contract, which knows of no `uniforms`.

    As KerasHub's own it goes on writing behind a row's stop token.
    """

    def __call__(
        self,
        next,
        prompt,
        cache=None,
        index=0,
        mask=None,
        stop_token_ids=None,
        hidden_states=None,
        model=None,
    ):
        words = ops.array([[BOS_ID, 7, 8, EOS_ID, 9, EOS_ID]], "int32")
        return ops.where(mask, prompt, words + 0 * prompt)


def test_what_stands_behind_the_first_stop_is_cut(model):
    mask = np.array([[True, False]])
    written = model.decode(
        latents(1), mask=mask, max_words=4, sampler=Rambling()
    )
    assert written.tolist() == [[[7, 8, 3, 0, 0], [0, 0, 0, 0, 0]]]


def test_a_sampler_may_be_given_itself(model):
    options = {"max_words": 4, "seed": 0}
    by_name = model.decode(latents(), sampler="top_k", top_k=3, **options)
    sampler = samplers.Categorical(top_k=3)
    np.testing.assert_array_equal(
        by_name, model.decode(latents(), sampler=sampler, **options)
    )


@pytest.mark.parametrize(
    ("documents", "match"),
    [
        ([], "must not be empty"),
        (np.zeros((0, 2, 3), "int32"), r"must not be empty.*\(0, 2, 3\)"),
        ([[]], "Document 0 must have a sentence"),
        ([["a"], [" "]], r"Document 1 must have .* Received: \[' '\]"),
        ([["a"], [3]], "Document 1 must be a list of strings. Received: 3"),
        (np.zeros((2, 2, 3), "int32"), "document 0 with padding only"),
        ([[[5, 3]], [[0, 0]]], "document 1 with padding only"),
        ([[[5, 20]]], r"Ids must be in \[0, 20\). Received: 5 to 20"),
        ([[[5, -1]]], r"Ids must be in \[0, 20\). Received: -1 to 5"),
        ([[[5, 3], [5]]], "Ids must form an array"),
        ([[[5.0, 3.0]]], "float64 of shape"),
        ([5, 3], r"int64 of shape \(2,\)"),
        (7, r"int64 of shape \(\)"),
        ([[[0, 5, 3]]], r"Padding .* Received: \[\[\[0, 5, 3\]\]\]"),
        ([[[0, 0], [5, 3]]], r"Padding \(id 0\) must come last"),
    ],
    ids=str,
)
def test_bad_documents(text_model, documents, match):
    for method in METHODS.values():
        with pytest.raises(ValueError, match=match):
            method(text_model, documents)


def test_strings_need_a_preprocessor(model):
    for documents in ("a b", TEXTS, TEXTS[0]):
        with pytest.raises(ValueError, match="This model has no preprocessor"):
            model.encode(documents)


@pytest.mark.parametrize(
    ("method", "arguments", "match"),
    [
        ("decode", {"z": np.zeros((2, 3))}, r"`z` must .* shape \(2, 3\)"),
        ("decode", {"z": np.zeros(D)}, r"`z` must .* shape \(2,\)"),
        ("decode", {"z": np.zeros((0, D))}, r"`z` must .* shape \(0, 2\)"),
        (
            "decode",
            {"z": np.zeros((2, D)), "mask": [True]},
            r"`mask` must have shape \(2,\). Received: shape \(1,\)",
        ),
        ("generate", {"seed": -1}, "`seed` must be .* Received: -1"),
        ("generate", {"seed": 1.5}, "`seed` must be .* Received: 1.5"),
        ("generate", {"seed": [1, 2]}, "each of the 1 documents.* 2 seeds"),
        ("generate", {"num_sentences": 0}, "`num_sentences` must .* 0"),
        ("generate", {"num_documents": 0}, "`num_documents` must .* 0"),
        ("generate", {"max_words": 0}, "`max_words` must .* 0"),
        ("generate", {"batch_size": 0}, "`batch_size` must .* 0"),
        ("generate", {"sampler": "best"}, "`sampler` must .* 'best'"),
        ("generate", {"sampler": 3}, "`sampler` must .* 3"),
        ("generate", {"top_q": 0.5}, r"Received: \['top_q'\]"),
        ("generate", {"temperature": -0.1}, "`temperature` must .* -0.1"),
        ("interpolate", {"steps": 1}, "`steps` must be >= 2. Received: 1"),
        ("interpolate", {"a": [["a"]] * 2}, "`a` must be one .* 2 documents"),
        ("score", {"num_samples": 0}, "`num_samples` must .* 0"),
        ("score", {"batch_size": -1}, "`batch_size` must .* -1"),
        ("encode", {"batch_size": 0}, "`batch_size` must .* 0"),
    ],
)
def test_bad_arguments(text_model, method, arguments, match):
    if method == "interpolate":
        arguments = {"a": TEXTS[0], "b": TEXTS[1], **arguments}
    if method in ("score", "encode"):
        arguments = {"documents": TEXTS, **arguments}
    with pytest.raises(ValueError, match=match):
        getattr(text_model, method)(**arguments)
