"""The servers and clients of examples/serving, for real, on loopback."""

import base64
import concurrent.futures
import contextlib
import hashlib
import http.client
import json
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

import numpy as np
import pytest

from keras_hvae.export import export_savedmodel, verify
from keras_hvae.files import DamagedFileError
from tests.export.conftest import CAPS, WORDS

SERVING = pathlib.Path(__file__).parents[2] / "examples" / "serving"
pytestmark = pytest.mark.slow
DRAW = {"seed": 7, "temperature": 0.9, "top_p": 0.9}


@pytest.fixture(scope="module")
def folder(exported):
    return exported.parent


@pytest.fixture(scope="module", autouse=True)
def examples():
    sys.path.insert(0, str(SERVING))
    yield
    sys.path.remove(str(SERVING))


def free_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


def post(url, body, path=":predict"):
    """Status and JSON of an answer."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    request = urllib.request.Request(
        url + path, data, {"Content-Type": "application/json"}
    )
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read() or b"{}")


@contextlib.contextmanager
def rest_server(folder, log, *options):
    pytest.importorskip("kserve")
    port = free_port()
    with open(log, "w+") as log:
        server = subprocess.Popen(
            [
                *(sys.executable, SERVING / "rest_server.py", folder),
                *("--name", "tiny", "--http_port", str(port), *options),
            ],
            stdout=log,
            stderr=log,
        )
        try:
            url = f"http://127.0.0.1:{port}/v1/models/tiny"
            for _ in range(240):
                try:
                    urllib.request.urlopen(url, timeout=5).close()
                    break
                except OSError:
                    ended = server.poll() is not None
                    assert not ended, log.seek(0) or log.read()[-3000:]
                    time.sleep(0.5)
            yield url
        finally:
            server.terminate()
            server.wait(60)


@contextlib.contextmanager
def grpc_server(folder):
    pytest.importorskip("tensorflow_serving.apis")
    import grpc_client
    import grpc_server

    server, port = grpc_server.serve(folder, "tiny", 0)
    yield grpc_client.Client(f"127.0.0.1:{port}", "tiny")
    server.stop(None)


@pytest.fixture(scope="module")
def rest(folder, tmp_path_factory):
    log = tmp_path_factory.mktemp("log") / "rest.log"
    with rest_server(folder, log) as url:
        yield url


def test_rest_answers_rows_and_columns(rest, ask):
    texts = ["the cat sees .\nthe dog", "how now ?"]
    expected = ask("encode", document=texts)
    for body in (
        {"instances": [{"document": x} for x in texts]},
        {"instances": texts},
        {"inputs": {"document": texts}},
        {"inputs": texts},
        {
            "instances": [
                {"b64": base64.b64encode(x.encode()).decode()} for x in texts
            ]
        },
    ):
        status, answer = post(rest, {"signature_name": "encode", **body})
        assert status == 200
        if "inputs" in body:
            columns = answer["outputs"]
        else:
            rows = answer["predictions"]
            columns = {key: [row[key] for row in rows] for key in rows[0]}
        assert columns.keys() == expected.keys()
        for key, x in columns.items():
            np.testing.assert_allclose(x, expected[key], atol=1e-6)
    status, answer = post(rest, {"instances": [{"document": texts[0], **DRAW}]})
    reply = ask(
        "reply", document=texts[:1], **{k: [x] for k, x in DRAW.items()}
    )
    assert status == 200
    assert answer["predictions"][0]["reply"] == reply["reply"][0].decode()


def test_the_rest_client(rest, capsys):
    import rest_client

    rest_client.main(rest)
    said = capsys.readouterr().out
    assert said.count("reply:") == 2 and "latent of the document" in said
    with pytest.raises(ValueError, match="`temperature` must be a number"):
        rest_client.ask(
            rest, {"instances": [{"document": "a", **DRAW, "temperature": -1}]}
        )


ROW = {"document": "the cat", **DRAW}
MALFORMED = {
    "no JSON": b"{",
    "nothing": b"",
    "no object": b"[1, 2]",
    "a string": b'"the cat"',
    "NaN": json.dumps({"instances": [{**ROW, "temperature": np.nan}]}).encode(),
    "neither": {},
    "both": {"instances": [ROW], "inputs": {}},
    "another key": {"instances": [ROW], "more": 1},
    "no rows": {"instances": []},
    "no list": {"instances": "the cat"},
    "an input less": {"instances": [{"document": "the cat"}]},
    "an input more": {"instances": [{**ROW, "top_k": 3}]},
    "other names in a row": {"instances": [ROW, {"document": "a"}]},
    "a number for text": {"instances": [{**ROW, "document": 3}]},
    "text for a number": {"instances": [{**ROW, "seed": "7"}]},
    "a fraction for a whole number": {"instances": [{**ROW, "seed": 1.5}]},
    "a number too large": {"instances": [{**ROW, "seed": 2**40}]},
    "null": {"instances": [{**ROW, "document": None}]},
    "a wrong rank": {"instances": [{**ROW, "document": ["the", "cat"]}]},
    "columns of different lengths": {
        "inputs": {**{k: [x] for k, x in ROW.items()}, "seed": [1, 2]}
    },
    "gaps": {
        "signature_name": "encode_sentences",
        "inputs": {"sentences": [["a"], ["b", "c"]]},
    },
    "a state of another width": {
        "signature_name": "reply_state",
        "instances": [
            {**ROW, "z": [0] * 5, "context": [0] * 6, "state": [0, 0]}
        ],
    },
    "a state of another model": {
        "signature_name": "reply_state",
        "instances": [
            {**ROW, "z": [0, 0], "context": [0] * 6, "state": [1, 5]}
        ],
    },
    "another signature": {"signature_name": "sing", "instances": [ROW]},
    "a signature that is no name": {"signature_name": 3, "instances": [ROW]},
    "a list for a signature": {"signature_name": ["a"], "instances": [ROW]},
    "lists in lists": (
        '{"signature_name": "encode", "inputs": ' + "[" * 600 + "]" * 600 + "}"
    ).encode(),
    "no sentence": {"signature_name": "score", "inputs": {"seed": [[]]}},
    "long text for numbers": {
        "inputs": {k: [x] * 2 for k, x in ROW.items()}
        | {"seed": ["x" * 2**20, ""]}
    },
    "too many rows": {"signature_name": "encode", "instances": ["a"] * 10_000},
    "no base64": {"signature_name": "encode", "instances": [{"b64": "%"}]},
    "temperature": {"instances": [{**ROW, "temperature": -1}]},
    "top_p": {"instances": [{**ROW, "top_p": 0}]},
}


@pytest.mark.parametrize("body", MALFORMED.values(), ids=MALFORMED.keys())
def test_rest_refuses_with_a_sentence(rest, body):
    status, answer = post(rest, body)
    assert 400 <= status < 500, answer
    assert len(answer["error"]) > 20 and "Traceback" not in answer["error"]
    # KServe says some itself: 'Expected "instances" to be a list'.
    ours = isinstance(body, dict) and "Expected" not in answer["error"]
    assert not ours or "Received: " in answer["error"]
    assert post(rest, {"instances": [ROW]})[0] == 200


def test_rest_takes_any_text(rest):
    texts = ["x" * 2**20, "the " * 250_000, "", "\n\n", "\x00", "😀"]
    rows = [{"b64": base64.b64encode(b"\xff\xfe").decode()}, *texts]
    status, answer = post(rest, {"signature_name": "encode", "instances": rows})
    assert status == 200 and len(answer["predictions"]) == 7


def test_rest_takes_other_content_types(rest):
    for kind in ("application/json; charset=utf-8", "text/plain"):
        request = urllib.request.Request(
            f"{rest}:predict",
            json.dumps({"instances": [ROW]}).encode(),
            {"Content-Type": kind},
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            assert "reply" in json.load(answer)["predictions"][0]


def test_the_model_cannot_be_unloaded(rest):
    base = rest.partition("/v1/")[0]
    status, _ = post(base, b"", "/v2/repository/models/tiny/unload")
    assert 400 <= status < 500
    assert post(rest, {"instances": [ROW]})[0] == 200


def test_rest_knows_its_model_only(rest):
    other = rest.replace("tiny", "other")
    assert post(other, {"instances": [ROW]})[0] == 404


def test_rest_has_predict_only(rest):
    for path, body in (
        (":explain", {"instances": [ROW]}),
        (":classify", {"instances": [ROW]}),
    ):
        assert 400 <= post(rest, body, path)[0] < 500


def test_rest_refuses_a_number_that_no_float_can_hold(rest):
    text = json.dumps({"instances": [{**ROW, "temperature": "?"}]})
    request = urllib.request.Request(
        f"{rest}:predict",
        text.replace('"?"', "1" + 400 * "0").encode(),
        {"Content-Type": "text/plain"},
    )
    with pytest.raises(urllib.error.HTTPError) as error:
        urllib.request.urlopen(request, timeout=60)
    assert error.value.code == 400
    assert "temperature must be a float32" in json.load(error.value)["error"]


@pytest.fixture(scope="module")
def client(folder):
    with grpc_server(folder) as client:
        yield client


def typed(**inputs):
    dtypes = {"seed": "int32", "temperature": "float32", "top_p": "float32"}
    return {k: np.array(x, dtypes.get(k)) for k, x in inputs.items()}


def test_grpc(client, ask):
    given = {"document": [b"the cat", b"how now ?"]}
    given |= typed(seed=[1, 2], temperature=[1, 1], top_p=[0.9, 0.9])
    answer = client.ask("", **given)
    for key, x in ask("reply", **given).items():
        np.testing.assert_array_equal(answer[key], x)


@pytest.mark.parametrize(
    ("signature", "inputs", "match"),
    [
        ("sing", {"document": [b"a"]}, "signature_name must be one of"),
        ("encode", {}, "Received: none of document"),
        ("encode", {"documents": [b"a"]}, "Received: "),
        ("encode", {"document": [1, 2]}, "string array"),
        ("encode", {"document": [[b"a"]]}, r"shape \[rows\]"),
        ("encode", {"document": b"a"}, r"shape \[rows\]"),
        ("encode", {"document": [b"a"] * 10_000}, "at most 16 rows"),
        ("score", {"document": [b"a"], "seed": [0.5]}, "int32 array"),
    ],
)
def test_grpc_refuses_with_a_sentence(client, signature, inputs, match):
    import grpc

    with pytest.raises(grpc.RpcError, match=match) as error:
        client.ask(signature, **inputs)
    assert error.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert client.ask("encode", document=[b"\xff\x00"])["mean"].shape == (
        1,
        1,
        2,
    )


def test_grpc_gives_what_is_asked_for(client):
    import grpc
    from tensorflow_serving.apis import predict_pb2

    request = predict_pb2.PredictRequest(output_filter=["mean"])
    request.model_spec.name = "tiny"
    request.model_spec.signature_name = "encode"
    request.inputs["document"].dtype = 7
    request.inputs["document"].tensor_shape.dim.add(size=1)
    request.inputs["document"].string_val.append(b"the cat")
    answer = client.stub.Predict(request, timeout=60)
    assert list(answer.outputs) == ["mean"]
    request.output_filter.append("meaning")
    with pytest.raises(grpc.RpcError, match="Received: 'meaning'") as error:
        client.stub.Predict(request, timeout=60)
    assert error.value.code() == grpc.StatusCode.INVALID_ARGUMENT


def test_grpc_refuses_a_broken_tensor(client):
    import grpc
    from tensorflow_serving.apis import predict_pb2

    # One string of 40 KB for 100,000 would take 4 GB.
    for size, text in (
        (-1, b"a"),
        (2**28, b"a"),
        (2**40, b"a"),
        (100_000, b"a" * 40_000),
    ):
        request = predict_pb2.PredictRequest()
        request.model_spec.name = "tiny"
        request.model_spec.signature_name = "encode"
        request.inputs["document"].dtype = 7
        request.inputs["document"].tensor_shape.dim.add(size=size)
        request.inputs["document"].string_val.append(text)
        with pytest.raises(grpc.RpcError) as error:
            client.stub.Predict(request, timeout=60)
        assert error.value.code() == grpc.StatusCode.INVALID_ARGUMENT


def test_grpc_knows_its_model_only(client):
    import grpc
    from tensorflow_serving.apis import get_model_metadata_pb2, predict_pb2

    for name, version in (("other", 0), ("tiny", 9)):
        request = predict_pb2.PredictRequest()
        request.model_spec.name = name
        request.model_spec.version.value = version
        with pytest.raises(grpc.RpcError) as error:
            client.stub.Predict(request, timeout=60)
        assert error.value.code() == grpc.StatusCode.NOT_FOUND
    request = get_model_metadata_pb2.GetModelMetadataRequest()
    request.model_spec.name = "tiny"
    answer = client.stub.GetModelMetadata(request, timeout=60)
    table = get_model_metadata_pb2.SignatureDefMap()
    assert answer.metadata["signature_def"].Unpack(table)
    assert set(table.signature_def["score"].inputs) == {"document", "seed"}


def test_a_new_version_takes_over_and_no_request_is_lost(
    exported, make_hvae, tmp_path
):
    import tensorflow as tf

    folder = tmp_path / "tiny"
    shutil.copytree(exported, folder / "1")
    (folder / "3").mkdir()  # not whole: passed over
    (folder / "3" / "saved_model.pb").write_bytes(b"half")
    other = export_savedmodel(
        make_hvae(WORDS, scale=0.7, seed=5),
        tmp_path / "other",
        signatures="encode",
        **CAPS,
    )

    def encoded(path):
        model = tf.saved_model.load(str(path))
        given = tf.constant(["the cat"])
        return model.signatures["encode"](document=given)["mean"].numpy()

    old, expected = encoded(exported), encoded(other)
    body = {"signature_name": "encode", "inputs": ["the cat"]}
    seen, new = [], []
    stop = time.monotonic() + 120

    def ask_on(call):
        while time.monotonic() < stop and len(new) < 50:
            mean = call()
            (seen if np.allclose(mean, old, atol=1e-6) else new).append(mean)

    with (
        rest_server(folder, tmp_path / "log") as url,
        grpc_server(folder) as client,
        concurrent.futures.ThreadPoolExecutor(5) as pool,
    ):

        def by_rest():
            status, answer = post(url, body)
            assert status == 200, answer
            return answer["outputs"]["mean"]

        def by_grpc():
            return client.ask("encode", document=[b"the cat"])["mean"]

        for call in (by_rest, by_grpc):
            np.testing.assert_allclose(call(), old, atol=1e-6)
        jobs = [pool.submit(ask_on, x) for x in (by_rest,) * 3 + (by_grpc,) * 2]
        time.sleep(1)
        # As `export_savedmodel` does: whole, then renamed.
        shutil.copytree(other, folder / ".2-new")
        (folder / ".2-new").rename(folder / "2")
        for job in jobs:
            job.result()
        assert len(seen) > 10 and len(new) >= 50
        for mean in new:
            np.testing.assert_allclose(mean, expected, atol=1e-6)
        for call in (by_rest, by_grpc):  # each of them
            for _ in range(120):
                mean = np.array(call())
                if not np.allclose(mean, old, atol=1e-6):
                    break
                time.sleep(0.5)
            np.testing.assert_allclose(mean, expected, atol=1e-6)


def test_limits_of_what_is_sent(folder, tmp_path):
    log = tmp_path / "log"
    options = "--largest_body", "20000", "--request_seconds", "2"
    with rest_server(folder, log, *options) as url:
        body = {"signature_name": "encode", "inputs": ["the cat"]}
        assert post(url, body)[0] == 200
        body["inputs"] = ["the cat " * 3000]
        status, answer = post(url, body)
        assert status == 413 and "at most 20000 bytes" in answer["error"]
        # Chunks, whose sizes nobody tells before.
        host, port = url.split("/")[2].split(":")
        head = (
            f"POST /v1/models/tiny:predict HTTP/1.1\r\nHost: {host}\r\n"
            "Content-Type: application/json\r\n"
        ).encode()
        with socket.create_connection((host, port), 30) as client:
            client.sendall(head + b"Transfer-Encoding: chunked\r\n\r\n")
            chunk = b"1000\r\n" + b"x" * 0x1000 + b"\r\n"
            # A reset may overtake the answer.
            with contextlib.suppress(OSError):
                for _ in range(10):
                    client.sendall(chunk)
                assert b" 413 " in client.recv(1000)
        # Connections that send nothing, half a head, half a body.
        for half in (b"", head[:20], head + b"Content-Length: 9\r\n\r\n{"):
            with socket.create_connection((host, port), 30) as client:
                client.sendall(half)
                start = time.monotonic()
                with contextlib.suppress(ConnectionResetError):
                    assert client.recv(1000) == b""
                assert 1 < time.monotonic() - start < 20
        # One that has been answered is kept for the next request.
        connection = http.client.HTTPConnection(host, int(port), timeout=30)
        for _ in range(2):
            connection.request("GET", "/v1/models/tiny")
            assert connection.getresponse().read()
            time.sleep(2.5)
        connection.close()
        before = log.stat().st_size
        count = 20
        for i in range(count):
            assert post(url, {"no": "x\n" * 1000, "i": i})[0] == 400
        written = log.read_text()[before:]
        assert "InvalidInput" in written and "Traceback" not in written
        assert len(written) < 1000 * count
        assert post(url, {"instances": ["the cat"] * 3})[0] in (200, 400)


def test_no_server_goes_by_what_verify_refuses(exported, tmp_path, capsys):
    import served_model

    def spoiled(version, spoil):
        folder = shutil.copytree(exported, tmp_path / str(version))
        spoil(folder)

    def altered(folder):
        (folder / "saved_model.pb").write_bytes(b"another graph")
        (folder / "SHA256SUMS").write_bytes(b"")

    def above(folder):
        (tmp_path / "secret").write_bytes(b"secret")
        digest = hashlib.sha256(b"secret").hexdigest()
        with open(folder / "SHA256SUMS", "a") as sums:
            sums.write(f"{digest}  ../../secret\n")

    def linked(folder):
        moved = tmp_path / "moved"
        (folder / "saved_model.pb").rename(moved)
        (folder / "saved_model.pb").symlink_to(moved)

    shutil.copytree(exported, tmp_path / "1")
    spoiled(2, altered)
    spoiled(3, above)
    spoiled(4, linked)
    spoiled(5, lambda folder: os.mkfifo(folder / "more"))
    model = served_model.ServedModel(tmp_path)
    assert model.current[0] == 1
    model.close()
    said = capsys.readouterr().out
    for reason in ("only an empty file", "name of a file", "a link", "a pipe"):
        assert reason in said
    for version in "2345":
        with pytest.raises(DamagedFileError):
            verify(tmp_path / version)


def test_only_what_is_whole_is_served(exported, tmp_path, capsys, monkeypatch):
    import served_model

    checked = []

    def check(folder, *args):
        checked.append(folder.name)
        check_version(folder, *args)

    check_version = served_model.check_version
    monkeypatch.setattr(served_model, "check_version", check)
    for version in ("1", "2"):
        shutil.copytree(exported, tmp_path / version)
    data = bytearray((tmp_path / "2" / "saved_model.pb").read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / "2" / "saved_model.pb").write_bytes(data)
    model = served_model.ServedModel(tmp_path)
    assert model.current[0] == 1
    model.close()
    assert "saved_model.pb: expected the SHA-256" in capsys.readouterr().out
    # It is read again when it changes, or once a minute.
    for _ in range(5):
        model._look()
    assert checked[:2] == ["2", "1"] and len(checked) <= 3
    shutil.copy(exported / "saved_model.pb", tmp_path / "2")
    model._look()
    assert model.current[0] == 2
    with pytest.raises(FileNotFoundError, match="a version of a model"):
        served_model.ServedModel(tmp_path / "none")
