"""The page, in a real browser without a window."""

import pathlib
import shutil
import subprocess
import sys

import pytest

pytest.importorskip("gradio")
sync_api = pytest.importorskip("playwright.sync_api")
BROWSER = next(
    filter(None, map(shutil.which, ("chromium", "google-chrome"))), None
)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(BROWSER is None, reason="needs chromium"),
]
WORDS = "good morrow cousin is the day so young what my lord , . ?".split()


@pytest.fixture(scope="module")
def model(make_hvae):
    return make_hvae(WORDS, scale=1.2, latent_dim=3)


@pytest.fixture(scope="module")
def address(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "model.keras"
    model.save(path)
    command = pathlib.Path(sys.executable).with_name("keras-hvae")
    page = subprocess.Popen(
        [command, "explore", path, "--port", "0", "--no-browser"],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        said = page.stdout.readline()  # the end of the file, if it ends
        assert said.startswith("Exploring at http://")
        yield said.split()[2]
    finally:
        page.terminate()
        page.wait(60)
        page.stdout.close()


@pytest.fixture
def tab(address):
    with sync_api.sync_playwright() as play:
        browser = play.chromium.launch(
            executable_path=BROWSER, args=["--no-sandbox"]
        )
        tab = browser.new_page(viewport={"width": 1280, "height": 900})
        tab.set_default_timeout(60_000)
        wrong = []
        tab.on("pageerror", lambda error: wrong.append(str(error)))
        tab.goto(address)
        tab.wait_for_selector("#middle textarea")
        yield tab
        assert not wrong
        browser.close()


def value(tab, name):
    return tab.locator(f"#{name} textarea").input_value()


def wait_for(tab, name, expected):
    tab.wait_for_function(
        "([name, expected]) => document.querySelector("
        "`#${name} textarea`).value === expected",
        arg=[name, expected],
    )


def test_it_listens_on_this_machine_only(address):
    assert address.startswith("http://127.0.0.1:")


def test_type_and_slide(tab, model):
    a, b = ["good morrow .", "what ?"], ["my lord", "the day is young", "so"]
    line = model.interpolate(a, b, 11)
    tab.locator("#a textarea").fill("\n".join(a))
    tab.locator("#b textarea").fill("\n".join(b))
    number = tab.locator("#weight input[type=number]")
    for step in (0, 10, 3):
        number.fill(str(step / 10))
        number.press("Enter")
        wait_for(tab, "middle", "\n".join(line[step]))
    # KL as bars, a map of sentences: drawn, not only asked for.
    for name in ("kl_a", "kl_b", "map"):
        tab.wait_for_selector(f"#{name} canvas, #{name} svg.marks")


def test_redraw_one_latent(tab):
    tab.get_by_role("tab", name="One sentence's latent").click()
    tab.wait_for_function(
        "() => document.querySelector('#now textarea').value !== ''"
    )
    before = value(tab, "now")
    assert before == value(tab, "was")
    tab.locator("#redraw").click()
    tab.wait_for_function(
        "before => document.querySelector('#now textarea').value !== before",
        arg=before,
    )
    assert value(tab, "was") == before


def test_go_on_with_a_scene(tab):
    tab.get_by_role("tab", name="Go on").click()
    before = value(tab, "scene")
    tab.locator("#write").click()
    tab.wait_for_function(
        "before => document.querySelector('#scene textarea').value !== before",
        arg=before,
    )
    after = value(tab, "scene")
    assert (
        after.startswith(before) and after.count("\n") == before.count("\n") + 2
    )


def test_nonsense_is_told_and_the_telling_goes_away(tab):
    tab.locator("#a textarea").fill(" ")
    told = tab.get_by_text("sentence that is not blank").first
    told.wait_for()
    told.wait_for(state="detached", timeout=9_000)


def test_it_says_what_it_shows(tab):
    page = tab.locator("body")
    for text in ("model.keras", "A (blue below)", "B (orange below)", "nats"):
        assert text in page.inner_text()
    for word in ("latent", "posterior", "prior"):
        tab.locator("strong", has_text=word).first.wait_for()
    # A KL bounds it, and is not the information of a sentence.
    assert "information" not in page.inner_text().lower()


def test_unknown_words_are_marked(tab):
    tab.locator("#a textarea").fill("good lord")
    tab.locator("#b textarea").fill("good fox")
    tab.locator("#a textarea").click()
    tab.locator("#read_b").get_by_text("fox").wait_for()
    tab.locator("#read_a").get_by_text("lord").wait_for()
    for of, count in (("a", 0), ("b", 1)):
        marks = tab.locator(f"#read_{of}").get_by_text("unknown", exact=True)
        assert marks.count() == count
