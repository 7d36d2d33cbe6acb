"""What comes back from `detokenize(tokenize(text))`."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_hvae.text.tokenizer import TOKENIZERS, get_tokenizer

tf = pytest.importorskip("tensorflow")

pytestmark = pytest.mark.eager

SAME = [
    "See https://example.com/a_b-c?q=1&r=%20#top, or www.w3.org.",
    "Write to jane.doe+news@mail.example.org (or @jane, #hvae)!",
    "3.14, 1,000 and 1,000.50; 12:30, 2024-05-06, 1/2, -5, 50%, $5, 3.",
    "v1.2.3 and 192.168.0.1, the U.S.A., e.g. ok.thanks",
    "x = foo(bar[0], {'a': 1}); if (a == b) return i++ / 2;",
    'print("a\\n", f"{x:.2f}") # a_b ** c=>d <tag attr="v"/>',
    "\"He said 'no' to me,\" she said. 'Then \"why?\"' 'Ay.'",
    "“He said ‘no’ to me,” she said. ‘It’s so.’ «Oui», dit-il.",
    "It is 'lapis': the players' scene, rock 'n' roll, the '90s, 'tis.",
    "well-a-day, pre- and post-war -- (see [1]) and/or... so…",
    "I ❤️ it 😀👍🏽! 👨‍👩‍👧 ☺ 🇩🇪 1️⃣ 🏴󠁧󠁢󠁳󠁣󠁴󠁿, ok 😀.",
    "नमस्ते दुनिया, क्षत्रिय हिन्दी। क्‍ष ठीक॥",
    "مرحبا، كيف حالك؟ نعم؛ حسنًا. می‌خواهم",
    "你好，世界。他说：「是吗？」（对！）",
    "สวัสดีครับ ฉันชื่อ แดง",
    "e\u0301te\u0301 Straße œuvre ½ x² H₂O 5°C ±3 ≠ ∀x",
]
# Where white space is not what a writer would put, it is put right.
NORMALIZED = {
    "a  b\tc": "a b c",
    "Oui , non !": "Oui, non!",
    "( a ) [ b ]": "(a) [b]",
    "so -- then": "so--then",
    "a != b": "a!= b",
    "c->d": "c- >d",
    "hi🇩🇪🇫🇷": "hi 🇩🇪 🇫🇷",
}


def round_trip(name, texts):
    tokenizer = get_tokenizer(name)
    words = tokenizer.tokenize(tf.constant(texts), False).to_tensor("")
    return [x.decode() for x in tokenizer.detokenize(words).numpy()]


@pytest.mark.parametrize("text", SAME)
@pytest.mark.parametrize("name", TOKENIZERS)
def test_text_comes_back_as_it_was(name, text):
    expected = text.replace(" -- ", "--") if name == "words" else text
    assert round_trip(name, [text]) == [expected]


@pytest.mark.parametrize("text", NORMALIZED)
def test_white_space_is_put_right(text):
    assert round_trip("words", [text]) == [NORMALIZED[text]]


PIECES = st.sampled_from(
    [*"aé中ي7😀=/_@#$%&*+<>|~^`\\", "e\u0301", "नमस्ते", "❤️", "👨‍👩‍👧", "👍🏽"]
)
CLOSING = st.sampled_from([".", ",", "!", "?", ";", ":", ")", "]", "}"])
OPENING = st.sampled_from(["(", "[", "{"])
# Of a sentence with white space behind words, and only there: a word, a mark
# or several, that may follow each other without any.
CHUNK = st.builds(
    "{}{}{}".format,
    st.lists(OPENING, max_size=2).map("".join),
    st.lists(PIECES, min_size=1, max_size=4).map("".join),
    st.lists(CLOSING, max_size=1).map("".join),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(CHUNK, min_size=1, max_size=5).map(" ".join))
def test_any_usual_text_comes_back(text):
    assert round_trip("words", [text]) == [text]


@settings(max_examples=150, deadline=None)
@given(st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"])))
def test_characters_come_back(text):
    text = text.replace("▁", "").strip()
    assert round_trip("characters", [text]) == [text]
