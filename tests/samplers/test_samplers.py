import itertools

import keras
import numpy as np
import pytest
import scipy.stats
from keras import ops

from keras_hvae import samplers
from keras_hvae.ids import PAD_ID
from keras_hvae.samplers import Beam, Categorical, Greedy

to_numpy = ops.convert_to_numpy
V, STOP, STEPS, WIDTH = 5, 4, 4, 5


class LanguageModel:
    """A tiny recurrent one: all that it remembers is in the cache.

    The id of padding has probability 0, as in the HVAE. The cache also says
    at which position the model expects to be asked next.
    """

    def __init__(self, seed, rows):
        rng = np.random.default_rng(seed)
        self.recurrent = rng.normal(size=(WIDTH, WIDTH)).astype("float32")
        self.embedding = 2 * rng.normal(size=(V, WIDTH)).astype("float32")
        self.kernel = rng.normal(size=(WIDTH, V)).astype("float32")
        self.start = rng.normal(size=(rows, WIDTH)).astype("float32")
        self.banned = np.where(np.arange(V) == PAD_ID, -1e9, 0.0)
        self.banned = self.banned.astype("float32")

    def cache(self):
        return {"state": ops.convert_to_tensor(self.start)}

    def next(self, prompt, cache, index):
        """The `next` of a sampler: position 0 of the prompt is given."""
        previous = ops.take(prompt, index - 1, axis=1)
        recurrent, embedding, kernel, banned = map(
            ops.convert_to_tensor,
            (self.recurrent, self.embedding, self.kernel, self.banned),
        )
        state = ops.tanh(
            ops.matmul(cache["state"], recurrent)
            + ops.take(embedding, previous, axis=0)
        )
        logits = ops.matmul(state, kernel) + banned
        return logits, None, {"state": state}

    def log_probs(self, row, words):
        """log p of each next word, before the first of these to the last."""
        state, steps = self.start[row], []
        for word in (1, *words):  # the prompt starts with a 1
            state = np.tanh(state @ self.recurrent + self.embedding[word])
            logits = state @ self.kernel + self.banned
            steps.append(logits - np.logaddexp.reduce(logits))
        return steps

    def score(self, row, words, given=None):
        """Sum of the words' log p, up to a stop; none for what is given."""
        total = 0.0
        for i, (word, step) in enumerate(
            zip(words, self.log_probs(row, words))
        ):
            if i != given:
                total += step[word]
            if word == STOP:
                break
        return total

    def beam_search(self, row, beams):
        """As `Beam`, with each beam's state from all of its words anew."""
        kept = [[]]
        for _ in range(STEPS):
            longer = []
            for words in kept:
                done = STOP in words
                nexts = [PAD_ID] if done else range(1, V)
                longer += [[*words, word] for word in nexts]
            longer.sort(key=lambda words: -self.score(row, words))
            kept = longer[:beams]
        return kept[0]

    def best(self, row, given=None, word=None):
        """The most probable sequence, by trying all; one word may be given."""
        sequences = []
        for words in itertools.product(range(1, V), repeat=STEPS):
            words = list(words)
            if given is not None:
                words[given] = word
            for i in range(
                words.index(STOP) + 1 if STOP in words else 9, STEPS
            ):
                words[i] = word if i == given else PAD_ID
            sequences.append(words)
        return max(sequences, key=lambda words: self.score(row, words, given))


def prompt(rows, filler=PAD_ID):
    start = np.full((rows, STEPS + 1), filler, "int32")
    start[:, 0] = 1
    return ops.convert_to_tensor(start)


def sample(sampler, model, rows, **kwargs):
    out = sampler(
        model.next,
        kwargs.pop("prompt", prompt(rows)),
        cache=model.cache(),
        index=1,
        stop_token_ids=(STOP,),
        **kwargs,
    )
    return to_numpy(out)[:, 1:]


@pytest.mark.parametrize("seed", range(4))
def test_wide_beam_finds_the_most_probable_sequence(seed):
    # With room for all that can be written in three words: V² is more.
    model = LanguageModel(seed, rows=3)
    written = sample(Beam(V**2 * 3), model, 3)
    assert written.tolist() == [model.best(row) for row in range(3)]


@pytest.mark.parametrize("beams", [2, 3, 5])
def test_beams_take_their_caches_along(beams):
    # Narrow beams change places, and lose the best sequence now and then.
    model = LanguageModel(0, rows=32)
    written = sample(Beam(beams), model, 32).tolist()
    assert written == [model.beam_search(row, beams) for row in range(32)]


def test_beam_search_is_not_greedy_search_here():
    # So that the test above would notice a beam search that only looks wide:
    # some of its sequences are more probable than the greedy ones.
    gains = []
    for seed in range(4):
        model = LanguageModel(seed, rows=3)
        for row, words in enumerate(sample(Greedy(), model, 3)):
            gain = model.score(row, model.best(row)) - model.score(row, words)
            assert gain > -1e-5
            gains.append(gain)
    assert sum(gain > 0.01 for gain in gains) >= 3


@pytest.mark.parametrize("seed", range(3))
def test_one_beam_is_greedy(seed):
    model = LanguageModel(seed, rows=4)
    np.testing.assert_array_equal(
        sample(Beam(1), model, 4), sample(Greedy(), model, 4)
    )


def test_greedy_tells_apart_what_a_softmax_does_not():
    logits = ops.array([[-1.0, 0.0, 2.0**-30]])
    assert int(Greedy().get_next_token(ops.softmax(logits))[0]) == 1
    words = Greedy()(lambda *_: (logits, None, ()), ops.zeros((1, 1), "int32"))
    assert int(words[0, 0]) == 2


def test_each_position_has_its_own_number():
    def next(prompt, cache, index):
        return ops.zeros((1, 4)), None, cache

    uniforms = ops.array([[0.9, 0.1, 0.6, 0.3]])
    words = Categorical()(
        next, ops.zeros((1, 4), "int32"), index=1, uniforms=uniforms
    )
    assert to_numpy(words).tolist() == [[0, 0, 2, 1]]


def test_a_kind_of_greedy_gets_probabilities():
    class Shy(Greedy):
        def get_next_token(self, probabilities):
            allowed = ops.array([True, False, True])
            return super().get_next_token(
                ops.where(allowed, probabilities, 0.0)
            )

    logits = ops.array([[-3.0, -1.0, -2.0]])
    words = Shy()(lambda *_: (logits, None, ()), ops.zeros((1, 1), "int32"))
    assert int(words[0, 0]) == 2


def test_greedy_takes_the_most_probable_word():
    model = LanguageModel(0, rows=4)
    for row, written in enumerate(sample(Greedy(), model, 4)):
        words = []
        while len(words) < STEPS and STOP not in words:
            words.append(int(model.log_probs(row, words)[-1].argmax()))
        words += [PAD_ID] * (STEPS - len(words))
        assert written.tolist() == words


# Twelve words, of falling probability in no order; none is equal to another.
PROBABILITIES = np.random.default_rng(0).permutation(0.7 ** np.arange(12))
PROBABILITIES /= PROBABILITIES.sum()


def cut(temperature=1.0, top_k=None, top_p=None):
    """The distribution that a sampler should draw from, by numpy."""
    p = PROBABILITIES ** (1 / temperature)
    p /= p.sum()
    order = np.argsort(-p)
    keep = len(p) if top_k is None else top_k
    if top_p is not None:
        top = p[order][:keep]
        keep = min(keep, int(np.searchsorted(np.cumsum(top), top_p)) + 1)
    q = np.zeros_like(p)
    q[order[:keep]] = p[order[:keep]]
    return q / q.sum()


def draw(sampler, rows=20_000, uniforms=None):
    logits = np.tile(np.log(PROBABILITIES), (rows, 1)).astype("float32") + 3.0
    words = sampler(
        lambda prompt, cache, index: (ops.convert_to_tensor(logits), None, ()),
        ops.zeros((rows, 1), "int32"),
        uniforms=uniforms,
    )
    return to_numpy(words)[:, 0]


CUTS = [
    {},
    {"temperature": 0.5},
    {"temperature": 2.0},
    {"top_k": 1},
    {"top_k": 4},
    {"top_k": 100},
    {"top_p": 0.01},
    {"top_p": 0.6},
    {"top_p": 1.0},
    {"temperature": 1.5, "top_k": 6, "top_p": 0.8},
]


@pytest.mark.parametrize("options", CUTS, ids=str)
def test_categorical_draws_from_its_distribution(options):
    words = draw(Categorical(**options, seed=1))
    expected = cut(**options)
    counts = np.bincount(words, minlength=12)
    assert (counts[expected == 0] == 0).all()
    support = expected > 0
    assert (counts[support] > 0).all()
    if support.sum() > 1:
        pvalue = scipy.stats.chisquare(
            counts[support], expected[support] * len(words)
        ).pvalue
        assert pvalue > 1e-3


@pytest.mark.parametrize("options", CUTS, ids=str)
def test_uniforms_are_put_through_the_inverse_cdf(options):
    # Away from the steps of the distribution, where rounding decides.
    uniforms = (np.arange(500) + 0.5) / 500
    expected, words = cut(**options), np.arange(12)
    if "top_k" in options or "top_p" in options:  # these sort the words
        words = np.argsort(-expected)
    cumulative = np.cumsum(expected[words])
    clear = (np.abs(uniforms[:, None] - cumulative) > 1e-4).all(axis=1)
    uniforms = uniforms[clear]
    drawn = draw(
        Categorical(**options),
        len(uniforms),
        ops.convert_to_tensor(uniforms[:, None].astype("float32")),
    )
    np.testing.assert_array_equal(
        drawn, words[np.searchsorted(cumulative, uniforms, side="right")]
    )


@pytest.mark.parametrize(
    ("options", "word"),
    # 0.5 alone is as much as `top_p` asks for: the second word is not kept.
    [({}, 3), ({"top_p": 0.5}, 1), ({"top_p": 0.51}, 0), ({"top_k": 2}, 0)],
    ids=str,
)
def test_a_number_that_rounds_to_one_draws_the_last_word_kept(options, word):
    # As the largest numbers below one of float64 do in float32.
    probabilities = ops.array([[0.25, 0.5, 0.0625, 0.1875]])
    drawn = Categorical(**options).get_next_token(
        probabilities, ops.array([1.0])
    )
    assert to_numpy(drawn).tolist() == [word]


def test_the_ends_of_the_unit_interval():
    ends = np.array([[0.0], [np.nextafter(np.float32(1), np.float32(0))]])
    probabilities = np.array([[0.0, 0.4, 0.6, 0.0]] * 2, "float32")
    for options in ({}, {"top_p": 1.0}):
        words = Categorical(**options).get_next_token(
            ops.convert_to_tensor(probabilities),
            ops.convert_to_tensor(ends[:, 0].astype("float32")),
        )
        # Never a word of probability 0.
        assert set(to_numpy(words)) == {1, 2}


def test_a_seed_repeats_its_draws():
    first, again, other = (Categorical(seed=s) for s in (1, 1, 2))
    words = draw(first, 100)
    np.testing.assert_array_equal(words, draw(again, 100))
    assert (words != draw(first, 100)).any()
    assert (words != draw(other, 100)).any()


ALL = [Greedy(), Categorical(seed=0), Categorical(top_p=0.9), Beam(3)]


def writer(rows):
    """A `next` with which each row writes its words and nothing else.

    The cache counts the calls: the words depend on the count alone.
    """
    words = np.array(rows)  # (R, L)

    def next(prompt, cache, index):
        row, count = cache["row"], cache["count"]
        word = ops.take(words.reshape(-1), row * words.shape[1] + count)
        logits = 50.0 * ops.one_hot(word, 9)
        return logits, None, {"row": row, "count": count + 1}

    cache = {
        "row": ops.arange(len(words), dtype="int32"),
        "count": ops.zeros((len(words),), "int32"),
    }
    return next, cache


@pytest.mark.parametrize("sampler", ALL, ids=lambda x: type(x).__name__)
def test_stops_at_the_first_stop_token_and_pads(sampler):
    next, cache = writer([[5, 6, 5, 6], [3, 5, 6, 7], [5, 4, 7, 3]])
    out = sampler(
        next,
        ops.zeros((3, 4), "int32"),
        cache=cache,
        stop_token_ids=(3, 4),
    )
    assert to_numpy(out).tolist() == [[5, 6, 5, 6], [3, 0, 0, 0], [5, 4, 0, 0]]


@pytest.mark.parametrize("sampler", ALL, ids=lambda x: type(x).__name__)
def test_loop_ends_when_all_rows_have_stopped(sampler):
    # What stood behind shows how far the loop went: it pads where it goes.
    next, cache = writer([[3, 5, 5, 5], [5, 3, 5, 5]])
    out = sampler(
        next,
        ops.full((2, 4), 8, "int32"),
        cache=cache,
        stop_token_ids=(3,),
    )
    assert to_numpy(out).tolist() == [[3, 0, 8, 8], [5, 3, 8, 8]]


@pytest.mark.parametrize("sampler", ALL, ids=lambda x: type(x).__name__)
def test_without_stop_tokens_every_position_is_written(sampler):
    next, cache = writer([[3, 5, 6], [5, 3, 7]])
    out = sampler(next, ops.zeros((2, 3), "int32"), cache=cache)
    assert to_numpy(out).tolist() == [[3, 5, 6], [5, 3, 7]]


@pytest.mark.parametrize("sampler", ALL, ids=lambda x: type(x).__name__)
def test_masked_positions_of_the_prompt_are_kept(sampler):
    next, cache = writer([[5, 5, 5, 5], [6, 6, 6, 6]])
    given = np.array([[0, 7, 0, 3], [7, 0, 0, 0]], "int32")
    out = sampler(
        next,
        ops.convert_to_tensor(given),
        cache=cache,
        mask=ops.convert_to_tensor(given > 0),
        stop_token_ids=(3,),
    )
    assert to_numpy(out).tolist() == [[5, 7, 5, 3], [7, 6, 6, 6]]


@pytest.mark.parametrize("sampler", ALL, ids=lambda x: type(x).__name__)
def test_positions_before_index_are_kept(sampler):
    next, cache = writer([[5, 6, 7]])
    out = sampler(
        next, ops.array([[8, 8, 0, 0, 0]], "int32"), cache=cache, index=2
    )
    assert to_numpy(out).tolist() == [[8, 8, 5, 6, 7]]


@pytest.mark.parametrize("given", range(STEPS))
@pytest.mark.parametrize("seed", range(3))
def test_beams_follow_a_given_word(given, seed):
    # A beam that ignored what a given word makes of the rest, or put it on
    # some beams only, would end elsewhere.
    model = LanguageModel(seed, rows=3)
    start = to_numpy(prompt(3)).copy()
    start[:, given + 1] = 2
    written = sample(
        Beam(V**2 * 3),
        model,
        3,
        prompt=ops.convert_to_tensor(start),
        mask=ops.convert_to_tensor(start == 2),
    )
    best = [model.best(row, given, 2) for row in range(3)]
    assert written.tolist() == best


def test_rows_do_not_depend_on_each_other():
    model = LanguageModel(1, rows=4)
    uniforms = np.random.default_rng(0).random((4, STEPS + 1), "float32")
    for sampler in (Greedy(), Categorical(), Beam(3)):
        together = sample(
            sampler, model, 4, uniforms=ops.convert_to_tensor(uniforms)
        )
        for row in range(4):
            alone = LanguageModel(1, rows=4)
            alone.start = model.start[row : row + 1]
            np.testing.assert_array_equal(
                sample(
                    sampler,
                    alone,
                    1,
                    uniforms=ops.convert_to_tensor(uniforms[row : row + 1]),
                )[0],
                together[row],
            )


@pytest.mark.parametrize(
    ("name", "options", "cls", "config"),
    [
        ("greedy", {}, Greedy, {}),
        ("random", {"seed": 3}, Categorical, {"seed": 3, "top_k": None}),
        (
            "categorical",
            {"temperature": 0.5},
            Categorical,
            {"temperature": 0.5, "top_k": None, "top_p": None},
        ),
        ("top_k", {}, Categorical, {"temperature": 1.0, "top_k": 10}),
        ("top_k", {"top_k": 3}, Categorical, {"top_k": 3}),
        ("top_p", {}, Categorical, {"top_p": 0.9, "top_k": None}),
        ("beam", {}, Beam, {"num_beams": 5}),
        ("beam", {"num_beams": 2}, Beam, {"num_beams": 2}),
    ],
)
def test_get_by_name(name, options, cls, config):
    sampler = samplers.get(name, **options)
    assert type(sampler) is cls
    assert config.items() <= sampler.get_config().items()
    assert samplers.get(sampler) is sampler
    again = keras.saving.deserialize_keras_object(
        keras.saving.serialize_keras_object(sampler)
    )
    assert type(again) is cls and again.get_config() == sampler.get_config()


def test_every_name_is_a_sampler():
    for name in samplers.NAMES:
        assert isinstance(samplers.get(name), samplers.Sampler)


@pytest.mark.parametrize(
    ("identifier", "options", "match"),
    [
        ("nucleus", {}, "`sampler` must be one of .* Received: 'nucleus'"),
        (3, {}, "`sampler` must be one of .* Received: 3"),
        ("greedy", {"temperature": 1.0}, r"Received: \['temperature'\]"),
        (Greedy(), {"num_beams": 1}, r"Received: \['num_beams'\]"),
        ("random", {"temperature": -0.1}, "`temperature`.*Received: -0.1"),
        ("categorical", {"temperature": float("nan")}, "`temperature`"),
        ("categorical", {"temperature": float("inf")}, "`temperature`"),
        ("top_k", {"top_k": 0}, "`top_k` must be an integer >= 1. Received: 0"),
        ("top_p", {"top_p": 0.0}, "`top_p` must be in .* Received: 0.0"),
        ("top_p", {"top_p": 1.1}, "`top_p` must be in .* Received: 1.1"),
        ("beam", {"num_beams": 0}, "`num_beams` must be .* Received: 0"),
        ("beam", {"num_beams": 2.5}, "`num_beams` must be .* Received: 2.5"),
    ],
)
def test_bad_arguments(identifier, options, match):
    with pytest.raises(ValueError, match=match):
        samplers.get(identifier, **options)


@pytest.mark.parametrize("name", ["contrastive", "speculative"])
def test_kerashubs_other_samplers_are_refused_by_name(name):
    match = f"`sampler` must be one of .*'{name}' (compares|needs) "
    with pytest.raises(ValueError, match=match):
        samplers.get(name)


class KerasHubSampler:
    """The contract of `keras_hub.samplers.Sampler`, as it is documented."""

    def __init__(self, temperature=1.0):
        self.temperature = temperature

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
        **kwargs,
    ):
        if mask is None:
            mask = ops.zeros_like(prompt, dtype="bool")
        for at in range(int(index), prompt.shape[1]):
            logits, _, cache = next(prompt, cache, at)
            logits = ops.cast(logits, "float32") / self.temperature
            token = self.get_next_token(ops.softmax(logits))
            token = ops.cast(token, prompt.dtype)
            token = ops.where(mask[:, at], prompt[:, at], token)
            prompt = ops.slice_update(prompt, [0, at], token[:, None])
        return prompt


def forbidding(base):
    """The custom sampler of KerasHub's documentation."""

    class CustomSampler(base):
        def __init__(self, forbidden_tokens, **kwargs):
            super().__init__(**kwargs)
            self.forbidden_tokens = forbidden_tokens

        def get_next_token(self, probs):
            rows = ops.shape(probs)[0]
            for id in self.forbidden_tokens:
                update = ops.zeros((rows, 1))
                probs = ops.slice_update(probs, (0, id), update)
            return ops.argmax(probs, axis=-1)

    return CustomSampler(forbidden_tokens=[2])


@pytest.mark.parametrize("base", [samplers.Sampler, Greedy, KerasHubSampler])
def test_a_custom_sampler_of_kerashub_runs(base):
    model = LanguageModel(1, rows=4)
    assert (sample(Greedy(), model, 4) == 2).any()
    uniforms = {} if base is KerasHubSampler else {"uniforms": prompt(4) / 9}
    written = sample(forbidding(base), model, 4, **uniforms)
    for row, words in enumerate(written.tolist()):
        steps = model.log_probs(row, words)
        for i in range(words.index(STOP) + 1 if STOP in words else STEPS):
            steps[i][2] = -np.inf
            assert words[i] == steps[i].argmax()


@pytest.mark.parametrize("temperature", [0, 0.0, 1e-9, 1e-4])
@pytest.mark.parametrize("name", ["random", "top_k", "top_p"])
def test_temperature_zero_is_greedy(name, temperature):
    model = LanguageModel(0, rows=8)
    sampler = samplers.get(name, temperature=temperature, seed=1)
    np.testing.assert_array_equal(
        sample(sampler, model, 8), sample(Greedy(), model, 8)
    )


def test_a_class_or_a_config_is_a_sampler():
    assert samplers.get(Categorical, top_k=3).top_k == 3
    config = keras.saving.serialize_keras_object(Beam(2))
    assert samplers.get(config).num_beams == 2


def test_a_draw_without_numbers_is_the_samplers_own():
    probabilities = ops.array([[0.5, 0.5, 0.0]] * 200)
    words = to_numpy(Categorical(seed=1).get_next_token(probabilities))
    assert words.shape == (200,) and set(words) == {0, 1}
    again = Categorical(seed=1).get_next_token(probabilities)
    np.testing.assert_array_equal(to_numpy(again), words)
