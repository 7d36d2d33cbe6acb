"""What the page takes from whoever finds its port."""

import socket
import subprocess
import sys
import urllib.error
import urllib.request

import pytest

from keras_hvae.explore.limits import LARGEST_BODY
from tests.hostile import WORDS

pytest.importorskip("gradio")
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def address(make_hvae, tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "model.keras"
    make_hvae(WORDS).save(path)
    command = [sys.executable, "-m", "keras_hvae.cli", "explore", path]
    page = subprocess.Popen(
        [*command, "--port", "0", "--no-browser"],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        said = page.stdout.readline()  # the end of the file, if it ends
        assert said.startswith("Exploring at http://")
        yield said.split()[2].rstrip("/")
    finally:
        page.terminate()
        page.wait(60)
        page.stdout.close()


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
    host, port = address.split("/")[2].split(":")
    head = f"POST /gradio_api/queue/join HTTP/1.1\r\nHost: {host}\r\n"
    told = head + f"Content-Length: {LARGEST_BODY + 1}\r\n\r\n"
    with socket.create_connection((host, port), 60) as client:
        client.sendall(told.encode())
        answer = b""
        while more := client.recv(1000):
            answer += more
        assert b" 413 " in answer and b"at most 1,048,576 bytes" in answer
    # Without the size, in chunks. What is sent after the answer is refused by
    # a reset, which may overtake it.
    chunk = b"10000\r\n" + b"a" * 2**16 + b"\r\n"
    with socket.create_connection((host, port), 60) as client:
        client.sendall(f"{head}Transfer-Encoding: chunked\r\n\r\n".encode())
        sent = 0
        try:
            while sent < 20 * LARGEST_BODY:
                client.sendall(chunk)
                sent += len(chunk)
            raise AssertionError("It takes anything.")
        except OSError:
            pass
