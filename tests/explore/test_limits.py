"""What the page takes from whoever finds its port."""

import json
import urllib.error
import urllib.request

import pytest

from keras_hvae.explore.limits import LARGEST_BODY
from tests.hostile import WORDS

pytest.importorskip("gradio")
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def address(make_hvae):
    from keras_hvae.explore import explore

    page, address = explore(
        make_hvae(WORDS), port=0, open_browser=False, wait=False
    )
    yield address.rstrip("/")
    page.close()


def post(url, data, kind="application/json"):
    request = urllib.request.Request(url, data, {"Content-Type": kind})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def test_the_page_is_there(address):
    with urllib.request.urlopen(address, timeout=60) as answer:
        assert answer.status == 200 and b"keras_hvae" in answer.read()


@pytest.mark.parametrize("path", ["/gradio_api/upload", "/upload"])
def test_it_takes_no_files(address, path):
    body = (
        b'--x\r\nContent-Disposition: form-data; name="files"; filename="a"'
        b"\r\n\r\n" + b"a" * 100 + b"\r\n--x--\r\n"
    )
    status, answer = post(
        address + path, body, "multipart/form-data; boundary=x"
    )
    assert status == 404 and b"takes no files" in answer


def test_it_takes_no_large_bodies(address):
    body = json.dumps({"data": ["a" * LARGEST_BODY]}).encode()
    status, answer = post(address + "/gradio_api/queue/join", body)
    assert status == 413 and b"at most 1,048,576 bytes" in answer
    # Without the size, in chunks.
    chunks = iter([b"a" * 2**16] * 20)
    status, _ = post(address + "/gradio_api/queue/join", chunks)
    assert status == 413
