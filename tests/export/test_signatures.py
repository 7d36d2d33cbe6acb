import concurrent.futures
import json
import pathlib

import numpy as np
import pytest
import tensorflow as tf

from keras_hvae.inference import compiled, randomness
from tests.export.conftest import CAPS

TEXTS = [
    "the cat sees .\nthe dog hears the cat\ngood morrow",
    "how now ?",
    "the king , the king .\na dog",
    "",
]
DOCUMENTS = [text.split("\n") for text in TEXTS[:3]]


def draw(rows, seed=0, temperature=1.0, top_p=0.9):
    return {
        "seed": np.arange(seed, seed + rows),
        "temperature": np.full(rows, temperature),
        "top_p": np.full(rows, top_p),
    }


def text(array):
    return [x.decode() for x in array]


@pytest.mark.slow
def test_the_table_of_signatures(exported):
    table = json.loads((exported / "keras_hvae.json").read_text())["signatures"]
    golden = pathlib.Path(__file__).with_name("signatures.json")
    # The names of the tensors are TensorFlow's affair.
    plain = {
        name: {
            side: {
                key: {x: spec[x] for x in ("dtype", "shape")}
                for key, spec in specs.items()
            }
            for side, specs in signature.items()
        }
        for name, signature in table.items()
    }
    assert plain == json.loads(golden.read_text())
    assert plain["serving_default"] == plain["reply"]
    for name, signature in table.items():
        assert len(signature["outputs"]) >= 2, name
        for side in signature.values():
            for key, spec in side.items():
                assert spec["shape"][:1] == [None], (name, key)  # batch first
                assert not key.endswith("_bytes")


@pytest.mark.slow
@pytest.mark.eager
def test_encode_is_the_models(served):
    model, ask = served
    answer = ask("encode", document=TEXTS)
    expected = model.encode(DOCUMENTS)
    for key in ("mean", "log_var", "document"):
        np.testing.assert_allclose(
            answer[key][:3], expected[key], atol=1e-6, err_msg=key
        )
        assert not answer[key][3].any()
    np.testing.assert_array_equal(answer["mask"][:3], expected["mask"])
    assert not answer["mask"][3].any()
    assert not answer["truncated"].any()


@pytest.mark.slow
def test_encode_sentences_is_encode(ask):
    rows = [[*x, *[""] * (3 - len(x))] for x in DOCUMENTS] + [[" ", "", "\t"]]
    answer, expected = (
        ask("encode_sentences", sentences=rows),
        ask("encode", document=TEXTS),
    )
    for key, x in expected.items():
        np.testing.assert_allclose(answer[key], x, atol=1e-6, err_msg=key)


@pytest.mark.slow
@pytest.mark.eager
def test_score_is_the_models_of_the_seed(served):
    model, ask = served
    answer = ask("score", document=TEXTS, seed=[3, 4, 5, 6])
    expected = model.score(DOCUMENTS, seed=[3, 4, 5])
    for key in expected.keys() & answer.keys():
        np.testing.assert_allclose(
            answer[key][:3], expected[key], rtol=1e-5, atol=1e-5, err_msg=key
        )
    assert {"nll", "kl", "sentence_kl", "tokens"} <= expected.keys()
    for key in ("nll", "kl", "elbo", "tokens"):
        assert answer[key][3] == 0
    np.testing.assert_allclose(
        answer["elbo"], -(answer["nll"] + answer["kl"]), rtol=1e-6
    )
    for key in ("nll", "kl", "elbo"):
        np.testing.assert_allclose(
            answer[f"sentence_{key}"].sum(axis=1), answer[key], rtol=1e-6
        )


@pytest.mark.slow
@pytest.mark.eager
def test_reconstruct_is_the_models(served):
    model, ask = served
    answer = ask("reconstruct", document=TEXTS)
    expected = model.reconstruct(DOCUMENTS, max_words=CAPS["write_words"])
    assert text(answer["document"]) == ["\n".join(x) for x in expected] + [""]
    for i, sentences in enumerate(expected):
        assert text(answer["sentences"][i, : len(sentences)]) == sentences
    np.testing.assert_array_equal(
        answer["mask"].sum(axis=1), [len(x) for x in DOCUMENTS] + [0]
    )


@pytest.mark.slow
@pytest.mark.eager
@pytest.mark.parametrize("pair", [(0, 1), (1, 0), (2, 2)])
def test_interpolate_is_the_models(served, pair):
    model, ask = served
    a, b = (DOCUMENTS[i] for i in pair)
    expected = model.interpolate(a, b, 5, max_words=CAPS["write_words"])
    answer = ask(
        "interpolate",
        a=["\n".join(a)] * 5,
        b=["\n".join(b)] * 5,
        weight=np.linspace(0, 1, 5),
    )
    assert text(answer["document"]) == ["\n".join(x) for x in expected]


@pytest.mark.slow
def test_interpolate_with_an_empty_document(ask):
    answer = ask(
        "interpolate",
        a=["", TEXTS[0], ""],
        b=[TEXTS[0], "", ""],
        weight=[0.0, 1.0, 0.5],
    )
    assert text(answer["document"]) == ["", "", ""]


# The last one is what a request gets that says nothing.
SETTINGS = [(0.7, 0.8), (0.0, 0.9), (1.0, 0.9)]


@pytest.mark.slow
@pytest.mark.eager
@pytest.mark.parametrize(("temperature", "top_p"), SETTINGS)
def test_generate_is_the_models_of_the_seed(served, temperature, top_p):
    model, ask = served
    settings = {"temperature": temperature, "top_p": top_p}
    answer = ask("generate", **draw(4, seed=7, **settings))
    expected = model.generate(
        num_documents=4,
        num_sentences=CAPS["num_sentences"],
        max_words=CAPS["write_words"],
        seed=[7, 8, 9, 10],
        **settings,
    )
    assert [text(x) for x in answer["sentences"]] == expected
    assert text(answer["document"]) == ["\n".join(x) for x in expected]
    assert len(set(answer["document"])) > 1


@pytest.mark.slow
@pytest.mark.eager
@pytest.mark.parametrize(("temperature", "top_p"), SETTINGS)
def test_reply_is_the_models_of_the_seed(served, temperature, top_p):
    model, ask = served
    settings = {"temperature": temperature, "top_p": top_p}
    answer = ask("reply", document=TEXTS[:3], **draw(3, seed=5, **settings))
    expected, state = model.reply(
        DOCUMENTS,
        return_state=True,
        max_words=CAPS["write_words"],
        seed=[5, 6, 7],
        **settings,
    )
    assert text(answer["reply"]) == expected
    for key in ("z", "context"):
        np.testing.assert_allclose(answer[key], state[key], atol=1e-5)
    np.testing.assert_array_equal(answer["state"][:, 0], state["count"])


@pytest.mark.slow
@pytest.mark.eager
def test_log_prob_is_that_of_the_words_written(ask, model):
    answer = ask("generate", **draw(4))
    sentences = CAPS["num_sentences"]
    noise = randomness.normals([(i, 0) for i in range(4)], sentences, 2)
    z = model.roll_out(noise)
    ids = model.preprocessor([text(x) for x in answer["sentences"]])
    np.testing.assert_array_equal(answer["tokens"], (ids != 0).sum(axis=-1))
    nll = compiled.nll_given_z(model, ids, z)["nll"]
    np.testing.assert_allclose(answer["log_prob"], -nll, rtol=1e-5)


@pytest.mark.slow
def test_a_request_may_leave_out_what_python_may(exported):
    from tensorflow.core.protobuf import saved_model_pb2

    graph = saved_model_pb2.SavedModel.FromString(
        (exported / "saved_model.pb").read_bytes()
    ).meta_graphs[0]
    draws = {"seed": 0, "temperature": 1.0, "top_p": pytest.approx(0.9)}
    expected = {
        **dict.fromkeys(
            ("serving_default", "reply", "reply_state", "generate"), draws
        ),
        "score": {"seed": 0},
    }
    found = {
        name: {k: tf.make_ndarray(x).item() for k, x in s.defaults.items()}
        for name, s in graph.signature_def.items()
        if s.defaults
    }
    assert found == expected


@pytest.mark.slow
def test_what_a_request_may_leave_out(exported, ask):
    """Seed, temperature and top_p: as a server calls a signature."""
    given = {"seed": [0], "temperature": [1.0], "top_p": [0.9]}
    with tf.compat.v1.Session(graph=tf.Graph()) as session:
        signatures = tf.compat.v1.saved_model.load(
            session, ["serve"], str(exported)
        ).signature_def

        def plainly(name, **inputs):
            signature = signatures[name]
            return session.run(
                {key: x.name for key, x in signature.outputs.items()},
                {signature.inputs[k].name: x for k, x in inputs.items()},
            )

        answers = {
            "reply": plainly("reply", document=TEXTS),
            "generate": plainly("generate"),
            "score": plainly("score", document=TEXTS),
        }
    for name, answer in answers.items():
        # A default is an entry for all rows.
        inputs = {} if name == "generate" else {"document": TEXTS}
        defaults = {
            key: tf.make_ndarray(x).tolist()
            for key, x in signatures[name].defaults.items()
        }
        settings = {"seed": [0]} if name == "score" else given
        assert defaults.keys() == settings.keys()
        for key, value in settings.items():
            assert defaults[key] == pytest.approx(value)
        for key, x in ask(name, **inputs, **settings).items():
            np.testing.assert_array_equal(answer[key], x, err_msg=key)


@pytest.mark.slow
def test_what_a_reply_has_read(ask, model):
    """Sentence by sentence: z_1 from x_1 alone, z_i from c_i and z_(i-1)."""
    answer = ask("reply", document=[TEXTS[0]], **draw(1))
    ids = tf.constant(model.preprocessor([DOCUMENTS[0]]))
    given = compiled.contexts(model, ids)["contexts"]
    alone = compiled.contexts(model, ids[:, :1])
    z = zeros = tf.zeros([1, 2])
    for i in range(3):
        z, _, _ = model.latent_chain.filter_step(
            given[:, i], alone["backward"], zeros, z, tf.fill([1, 1], i > 0)
        )
    np.testing.assert_allclose(answer["z"], z, atol=1e-6)
    np.testing.assert_allclose(answer["context"], given[:, -1], atol=1e-6)


@pytest.mark.slow
@pytest.mark.eager
def test_reply_to_nothing_is_a_first_sentence(ask, model):
    blank = ["", " \n", "\n\n\n", "\t\r\n "]
    answer = ask("reply", document=blank, **draw(4, temperature=0.0))
    assert not answer["z"].any() and not answer["state"][:, 0].any()
    first = model.generate(  # z_1 of the prior
        num_documents=4,
        num_sentences=1,
        max_words=CAPS["write_words"],
        seed=[0, 1, 2, 3],
        temperature=0.0,
    )
    assert text(answer["reply"]) == [sentence for (sentence,) in first]


@pytest.mark.slow
@pytest.mark.parametrize("cut", [0, 1, 2, 3])
def test_reply_state_is_reply_to_the_whole(ask, cut):
    whole = "the cat sees .\nthe dog\nhow now ?\ngood morrow".split("\n")
    settings = draw(1, seed=11)
    expected = ask("reply", document=["\n".join(whole)], **settings)
    state = {
        "z": np.zeros((1, 2)),
        "context": np.zeros((1, 6)),
        "state": np.zeros((1, 2)),
    }
    parts = (whole[:cut], whole[cut:3], whole[3:])
    for part in parts:  # one of them may be empty
        answer = ask(
            "reply_state", document=["\n".join(part)], **state, **settings
        )
        state = {key: answer[key] for key in state}
    for key, x in expected.items():
        if x.dtype.kind == "f":
            np.testing.assert_allclose(answer[key], x, atol=1e-5, err_msg=key)
        else:
            np.testing.assert_array_equal(answer[key], x, err_msg=key)
    assert answer["state"][0, 0] == 4


@pytest.mark.slow
def test_a_row_has_the_same_bytes_in_any_company(ask):
    rng = np.random.default_rng(0)
    words = "the a cat dog sees hears good now how ? . king xyz".split()
    rows = [
        "\n".join(
            " ".join(rng.choice(words, rng.integers(1, 7)))
            for _ in range(rng.integers(0, 6))
        )
        for _ in range(16)
    ]
    settings = draw(16, temperature=1.3, top_p=0.95)
    calls = {
        "reply": {"document": rows, **settings},
        "generate": settings,
        "score": {"document": rows, "seed": settings["seed"]},
        "reconstruct": {"document": rows},
        "interpolate": {
            "a": rows,
            "b": rows[::-1],
            "weight": np.linspace(0, 1, 16),
        },
    }

    def answers(name, order):
        inputs = {k: [x[i] for i in order] for k, x in calls[name].items()}
        return ask(name, **inputs)

    jobs = [
        (name, order)
        for name in calls
        for order in (*([i] for i in range(16)), [5, 2], [9, 3, 14, 1, 7])
    ]
    together = {name: answers(name, range(16)) for name in calls}
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        found = list(pool.map(lambda job: answers(*job), jobs))
    for (name, order), answer in zip(jobs, found):
        for key, x in answer.items():
            for row, i in zip(x, order):
                same = together[name][key][i]
                if np.ndim(row):  # as many sentences as the longest has
                    same = same[: len(row)]
                assert np.array_equal(row, same), (name, key, i)


@pytest.mark.slow
def test_more_than_the_caps_is_cut_and_told(ask):
    many = "\n".join(["the cat", "the dog", "how", "now", "a", "king", "cat"])
    long = "the cat sees the dog . the king hears"
    texts = [many, long, "\n".join(many.split("\n")[:5]), "the cat"]
    answer = ask("encode", document=texts)
    assert answer["truncated"].tolist() == [True, True, False, False]
    assert answer["mask"].sum(axis=1).tolist() == [5, 1, 5, 1]
    np.testing.assert_array_equal(answer["mean"][0], answer["mean"][2])
    cut = ask("encode", document=["the cat sees the dog . the"])
    np.testing.assert_allclose(
        answer["mean"][1, 0], cut["mean"][0, 0], atol=1e-6
    )
    # A reply is to the last ones.
    replies = ask(
        "reply", document=[many, "\n".join(many.split("\n")[2:])], **draw(2)
    )
    assert replies["truncated"].tolist() == [True, False]
    np.testing.assert_allclose(replies["z"][0], replies["z"][1], atol=1e-6)
    rows = ask(
        "encode_sentences", sentences=[["the"] * 7, ["the cat"] + [""] * 6]
    )
    assert rows["truncated"].tolist() == [True, False]
    assert rows["mask"].shape == (2, 5)
    score = ask("score", document=["the cat\n" * 20_000], seed=[1])
    assert score["truncated"][0] and score["tokens"][0] == 15


@pytest.mark.slow
def test_the_cap_of_bytes_cuts_no_word_in_two(ask):
    # 1,680 bytes: none of these has a word that was not written.
    long = "the " + "x" * 1672 + " cats"  # "cats" would become "cat"
    split = "king " + "é" * 900
    blank = "\n" * 40_000 + "the cat" + " " * 40_000
    answer = ask("encode", document=[long, split, blank, "the cat"])
    assert answer["truncated"].tolist() == [True, True, False, False]
    np.testing.assert_array_equal(answer["mean"][2], answer["mean"][3])
    expected = ask("encode", document=["the " + "x" * 1672, "king"])
    np.testing.assert_allclose(
        answer["mean"][:2, 0], expected["mean"][:, 0], atol=1e-6
    )
    # Words with nothing between them but marks, or white space of no ASCII.
    marks = ask(
        "encode",
        document=["good,morrow," * 300, "good\u00a0morrow\u00a0" * 300],
    )
    expected = ask(
        "encode",
        document=[
            "good , morrow , good , morrow",
            "good morrow good morrow good morrow good",
        ],
    )
    np.testing.assert_allclose(
        marks["mean"][:, 0], expected["mean"][:, 0], atol=1e-6
    )
    # The end of one, for a reply.
    long = "thecat " + "x" * 1670 + "\nthe"
    replies = ask("reply", document=[long, "x" * 1670 + "\nthe"], **draw(2))
    assert replies["truncated"].tolist() == [True, False]
    np.testing.assert_allclose(replies["z"][0], replies["z"][1], atol=1e-6)


HOSTILE = [
    b"\xff\xfe\xff",
    b"the \x00 cat",
    "the cat\u2028sees\ufeff".encode(),
    b"\xe2\x80",
    ("x" * 100_000).encode(),
    ("the " * 50_000).encode(),
    b"\n" * 100_000,
    "😀 king".encode(),
    b"unheard of",
]


@pytest.mark.slow
def test_any_bytes_get_a_finite_answer(ask):
    for name, inputs in (
        ("encode", {"document": HOSTILE}),
        ("score", {"document": HOSTILE, "seed": np.zeros(9)}),
        ("reply", {"document": HOSTILE, **draw(9)}),
        ("reconstruct", {"document": HOSTILE}),
        (
            "encode_sentences",
            {"sentences": [[x] for x in HOSTILE if len(x) < 500]},
        ),
    ):
        for key, x in ask(name, **inputs).items():
            if x.dtype == object:
                [s.decode() for s in x.flat]
            else:
                assert np.isfinite(x).all(), (name, key)


@pytest.mark.slow
def test_an_empty_batch(ask):
    none = np.zeros(0)
    for name, inputs in (
        ("encode", {"document": none}),
        ("score", {"document": none, "seed": none}),
        ("reply", {"document": none, **draw(0)}),
        ("generate", draw(0)),
        ("reconstruct", {"document": none}),
        ("interpolate", {"a": none, "b": none, "weight": none}),
        ("encode_sentences", {"sentences": np.zeros((0, 3))}),
    ):
        for key, x in ask(name, **inputs).items():
            assert len(x) == 0, (name, key)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"temperature": [np.nan]}, "`temperature` must be a number .*nan"),
        ({"temperature": [-0.5]}, "`temperature` must be a number .*-0.5"),
        ({"temperature": [1e10]}, "number >= 0 and <= 100.*Received:.*e"),
        ({"top_p": [0.0]}, "`top_p` must be > 0 and <= 1. Received:.*0"),
        ({"top_p": [1.5]}, "`top_p` must be > 0 and <= 1. Received:.*1.5"),
        ({"top_p": [np.nan]}, "`top_p` must be > 0 and <= 1.*nan"),
        ({"seed": [-3]}, "`seed` must be an int >= 0. Received:.*-3"),
        ({"seed": [1, 2]}, "`seed` must have one entry for each row"),
        ({"document": ["a"] * 17}, "at most 16 rows. Received:.*17"),
        ({"z": [[np.nan, 0.0]]}, "`z` must be of an answer.*nan"),
        ({"z": [[0.5, 0.0]]}, "`z` must be .* where no sentence .*0.5"),
        ({"context": [[np.inf] * 6]}, "`context` must be of an answer.*inf"),
        ({"state": [[3, 12345]]}, "answer of this model, or zeros.*12345"),
        ({"state": [[-1, 0]]}, "answer of this model, or zeros"),
        ({"state": [[0, 0]] * 2}, "`state` must have one entry"),
    ],
)
def test_bad_requests_are_told_why(ask, change, match):
    inputs = {
        "document": ["the cat"],
        "z": [[0.0, 0.0]],
        "context": [[0.0] * 6],
        "state": [[0, 0]],
        **draw(1),
        **change,
    }
    if "document" in change:
        rows = len(change["document"])
        inputs = {k: list(x) * (rows // len(x)) for k, x in inputs.items()}
    with pytest.raises(tf.errors.InvalidArgumentError, match=f"(?s){match}"):
        ask("reply_state", **inputs)


@pytest.mark.slow
def test_a_score_has_no_negative_seed(ask):
    with pytest.raises(tf.errors.InvalidArgumentError, match="(?s)`seed`.*-1"):
        ask("score", document=["the cat"], seed=[-1])


@pytest.mark.slow
@pytest.mark.parametrize("rows", [1, 3])
def test_states_that_no_answer_has(ask, rows):
    documents = ["the cat"] * rows
    good = ask("reply", document=documents, **draw(rows))
    count, known = np.split(good["state"], 2, axis=1)
    for state, match in (
        (
            np.hstack([0 * count + np.int32(2**31 - 1), known]),
            "`state` must be of an",
        ),
        (np.hstack([-count, known]), "`state` must be of an"),
        (np.hstack([0 * count, known]), "where no sentence has been read"),
        (np.vstack([good["state"]] * 2), "`state` must have one entry"),
    ):
        with pytest.raises(tf.errors.InvalidArgumentError, match=match):
            ask(
                "reply_state",
                document=documents,
                z=good["z"],
                context=good["context"],
                state=state,
                **draw(rows),
            )


@pytest.mark.slow
def test_bad_weights_and_rows_are_told_why(ask):
    error = tf.errors.InvalidArgumentError
    for weight in (-0.1, 1.1, np.nan):
        with pytest.raises(error, match="`weight` must be >= 0 and <= 1"):
            ask("interpolate", a=["a"], b=["a"], weight=[weight])
    with pytest.raises(error, match="`b` must have one entry for each row"):
        ask("interpolate", a=["a"], b=["a", "b"], weight=[0.5])
    with pytest.raises(error, match="at most 16 rows"):
        ask("generate", **draw(17))
    with pytest.raises(error, match="at most 16 rows"):
        ask("encode", document=["the"] * 10_000)


@pytest.mark.slow
def test_what_was_wrong_is_shown_not_what_was_right(ask):
    settings = draw(8)
    settings["temperature"][6] = -3.0
    with pytest.raises(
        tf.errors.InvalidArgumentError, match=r"Received:\] \[-3\]"
    ):
        ask("reply", document=["a"] * 8, **settings)
    long = [["the"], ["x" * 2000]]
    with pytest.raises(
        tf.errors.InvalidArgumentError, match="at most 1680 bytes.*2000"
    ):
        ask("encode_sentences", sentences=long)


@pytest.mark.slow
def test_gaps_between_sentences_are_left_out(ask):
    rows = [["", "the cat", " ", "how now ?"], ["the cat", "how now ?", "", ""]]
    answer = ask("encode_sentences", sentences=rows)
    for key, x in answer.items():
        np.testing.assert_allclose(x[0], x[1], atol=1e-6, err_msg=key)
    none = ask("encode_sentences", sentences=np.zeros((2, 0)))
    assert none["mask"].tolist() == [[False], [False]]


@pytest.mark.slow
def test_the_hottest_writes_words_only(ask):
    answer = ask("generate", **draw(16, temperature=100.0, top_p=1.0))
    for sentence in answer["sentences"].ravel():
        assert b"[" not in sentence
    assert np.isfinite(answer["log_prob"]).all()
    # At most so many words and `[EOS]`.
    assert answer["tokens"].min() >= 1
    assert answer["tokens"].max() == CAPS["write_words"] + 1


@pytest.mark.slow
def test_a_state_of_another_model_of_the_same_size(ask, make_hvae, tmp_path):
    from keras_hvae.export import export_savedmodel
    from tests.export.conftest import WORDS

    other = export_savedmodel(
        make_hvae(WORDS, seed=5), tmp_path / "m", signatures="reply", **CAPS
    )
    other = tf.saved_model.load(str(other)).signatures["reply"]
    settings = {k: tf.constant(x) for k, x in draw(1).items()}
    settings["seed"] = tf.cast(settings["seed"], tf.int32)
    for key in ("temperature", "top_p"):
        settings[key] = tf.cast(settings[key], tf.float32)
    answer = other(document=tf.constant(["the cat"]), **settings)
    state = {key: answer[key].numpy() for key in ("z", "context", "state")}
    with pytest.raises(tf.errors.InvalidArgumentError, match="of this model"):
        ask("reply_state", document=["the"], **state, **draw(1))


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        {
            "transition": "gated",
            "prior": "learned",
            "softmax": "adaptive",
            "dtype": "mixed_bfloat16",
            "bow_weight": 0.5,
            "dropout": 0.5,
        },
        {
            "backward": "exclusive",
            "initial_prior": "empirical",
            "mean_norm": 1.0,
            "tie_embeddings": True,
        },
        {"inference": "filtering", "transition": "sum"},
    ],
)
def test_variants(make_hvae, tmp_path, options):
    from keras_hvae.export import export_savedmodel
    from tests.export.conftest import WORDS

    model = make_hvae(WORDS, **options)
    names = "encode", "reconstruct", "score", "reply"
    path = export_savedmodel(model, tmp_path / "m", signatures=names, **CAPS)
    signatures = tf.saved_model.load(str(path)).signatures
    config = {**model.get_config(), "dtype": "float32"}
    same = type(model).from_config(config)
    same.set_weights(model.get_weights())
    given = tf.constant(TEXTS)
    answer = signatures["encode"](document=given)["mean"].numpy()
    expected = same.encode(DOCUMENTS)["mean"]
    np.testing.assert_allclose(answer[:3], expected, atol=1e-6)
    written = signatures["reconstruct"](document=given)["document"].numpy()
    again = same.reconstruct(DOCUMENTS, max_words=CAPS["write_words"])
    assert text(written[:3]) == ["\n".join(x) for x in again]
    seed = tf.constant([3, 4, 5, 6])
    scored = signatures["score"](document=given, seed=seed)
    expected = same.score(DOCUMENTS, seed=[3, 4, 5])
    for key in ("nll", "kl", "sentence_nll", "sentence_kl"):
        np.testing.assert_allclose(
            scored[key][:3], expected[key], rtol=1e-4, atol=1e-5, err_msg=key
        )
    reply = signatures["reply"](
        document=given,
        seed=seed,
        temperature=tf.fill([4], 1.0),
        top_p=tf.fill([4], 0.9),
    )
    expected = same.reply(
        DOCUMENTS, seed=[3, 4, 5], max_words=CAPS["write_words"]
    )
    assert text(reply["reply"].numpy()[:3]) == expected
