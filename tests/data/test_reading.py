import bz2
import gzip
import io
import json
import lzma
import os

import pytest

from keras_hvae.data import load, read_documents
from keras_hvae.files import DamagedFileError


def read(data, format="txt", **kwargs):
    return list(read_documents(io.BytesIO(data), format=format, **kwargs))


def test_txt():
    data = b"\xef\xbb\xbfOne.\r\n Two. \n\n \t\r\n\nThree\xe2\x80\xa8\x0cfour"
    assert read(data) == [["One.", " Two. "], ["Three\u2028\x0cfour"]]


def test_jsonl_leaves_blanks_out():
    data = (
        b'{"a": 1, "sentences": ["One.", " ", "Two."]}\n\n{"sentences": []}\n'
    )
    assert read(data, "jsonl") == [["One.", "Two."]]
    assert read(b'{"t": ["x"]}', "jsonl", key="t") == [["x"]]


@pytest.mark.parametrize(
    ("suffix", "compress"),
    [
        ("", bytes),
        (".gz", gzip.compress),
        (".xz", lzma.compress),
        (".bz2", bz2.compress),
    ],
)
@pytest.mark.parametrize("format", ["txt", "jsonl"])
def test_files(tmp_path, format, suffix, compress):
    data = b"One.\n" if format == "txt" else b'{"sentences": ["One."]}\n'
    path = tmp_path / f"corpus.{format}{suffix}"
    path.write_bytes(compress(data * 3))
    expected = [["One."] * 3] if format == "txt" else [["One."]] * 3
    assert list(read_documents(path)) == expected
    assert list(read_documents(str(path))) == expected


def test_reads_no_further_than_asked():
    stream = io.BytesIO(b"One.\n\nTwo.\n")
    assert next(read_documents(stream, format="txt")) == ["One."]
    assert stream.read() == b"Two.\n"


@pytest.mark.parametrize(
    ("data", "line", "message"),
    [
        (b"", 1, "none to the end of the file"),
        (b"\n \r\n", 1, "none to the end of the file"),
        (b"ok\nsch\xf6n\n", 2, "UTF-8. Received: byte 0xf6 at column 4"),
        (b"ok\n\na\x00b", 3, "NUL character at column 2"),
    ],
)
def test_bad_txt(tmp_path, data, line, message):
    path = tmp_path / "bad.txt"
    path.write_bytes(data)
    with pytest.raises(ValueError, match=f"^{path}:{line}: .*{message}"):
        list(read_documents(path))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{'sentences': []}", "expected a JSON object. Received: \"{'sent"),
        ("[" * 100_000, "expected a JSON object"),
        ('["a"]', "expected a JSON object. Received: '\\[\"a\"\\]'"),
        ('{"text": [], "id": 1}', "the key 'sentences'.*'text', 'id'$"),
        ("{}", "Received: the keys of an empty object"),
        ('{"sentences": "a"}', "a list of strings under 'sentences'.*'a'"),
        ('{"sentences": ["a", 7]}', "'sentences': .*Received: 7 as item 1"),
        ('{"sentences": ["a\\u0000"]}', "item 0: .*NUL"),
        ('{"sentences": ["\\ud800"]}', "item 0: .*surrogate"),
    ],
)
def test_bad_jsonl(tmp_path, line, message):
    path = tmp_path / "bad.jsonl"
    path.write_text(json.dumps({"sentences": ["ok"]}) + "\n" + line)
    documents = read_documents(path)
    assert next(documents) == ["ok"]
    with pytest.raises(ValueError, match=f"^{path}:2.*{message}"):
        next(documents)


def test_jsonl_of_blank_documents_only():
    with pytest.raises(ValueError, match="^stream:1: expected at least one"):
        read(b'{"sentences": [" "]}\n', "jsonl")


@pytest.mark.parametrize("suffix", [".gz", ".xz", ".bz2"])
def test_damaged_compression(tmp_path, suffix):
    path = tmp_path / f"bad.txt{suffix}"
    path.write_bytes(b"not compressed at all")
    with pytest.raises(ValueError, match=f"^{path}:1: expected that the comp"):
        list(read_documents(path))


def test_truncated_compression(tmp_path):
    path = tmp_path / "cut.txt.gz"
    path.write_bytes(gzip.compress(b"One.\n\nTwo.\n")[:-9])
    with pytest.raises(ValueError, match=f"^{path}:4: expected that the comp"):
        list(read_documents(path))


def test_bad_paths(tmp_path):
    with pytest.raises(FileNotFoundError, match="`source`.*gone.txt"):
        read_documents(tmp_path / "gone.txt")
    for name in ("corpus.csv", "corpus", "corpus.csv.gz"):
        (tmp_path / name).write_text("x")
        with pytest.raises(ValueError, match=f"txt, jsonl.*Received: {name}"):
            read_documents(tmp_path / name)
    with pytest.raises(ValueError, match="`format`.*Received: None"):
        read_documents(io.BytesIO(b"x"))
    with pytest.raises(ValueError, match="Received: csv"):
        read_documents(io.BytesIO(b"x"), format="csv")


def test_unreadable_file(tmp_path, monkeypatch):
    path = tmp_path / "secret.txt"
    path.write_text("x")

    def refuse(*args, **kwargs):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("keras_hvae.data.lines.open", refuse, raising=False)
    with pytest.raises(PermissionError, match="secret.txt"):
        list(read_documents(path))


def test_a_line_without_end(tmp_path):
    path = tmp_path / "long.txt"
    with open(path, "wb") as file:
        file.write(b"One.\n")
        file.truncate(1 << 40)  # takes no room on the disk
    with pytest.raises(DamagedFileError, match=f"^{path}:2: .*16,777,216 byt"):
        list(read_documents(path))


def test_a_sentence_too_long():
    data = b"a" * (1 << 20)
    assert read(data) == [[data.decode()]]
    with pytest.raises(DamagedFileError, match="^stream:2: .*1,048,577"):
        read(b"One.\n" + data + b"a")
    data = b'{"sentences": ["' + data + b'a"]}'
    with pytest.raises(DamagedFileError, match="^stream:1.*item 0.*1,048,577"):
        read(data, "jsonl")


def test_a_document_without_end():
    line = b"a" * 1_000_000 + b"\n"
    stream = io.BufferedReader(Endless(line), len(line))
    with pytest.raises(DamagedFileError, match="stream:135: .*blank lines"):
        next(read_documents(stream, format="txt"))


class Endless(io.RawIOBase):
    name = "stream"

    def __init__(self, line):
        self.line = line

    def readable(self):
        return True

    def readinto(self, buffer):
        part = self.line[: len(buffer)]
        self.line = self.line[len(part) :] + part
        buffer[: len(part)] = part
        return len(part)


@pytest.mark.parametrize("suffix", [".gz", ".xz", ".bz2"])
def test_a_small_file_that_unpacks_without_end(tmp_path, suffix):
    compress = {
        ".gz": gzip.compress,
        ".xz": lzma.compress,
        ".bz2": bz2.compress,
    }
    path = tmp_path / f"bomb.txt{suffix}"
    path.write_bytes(compress[suffix]((b"a" * 1_000_000 + b"\n\n") * 17))
    with pytest.raises(DamagedFileError, match=f"^{path}: .*at most 200 times"):
        for _ in read_documents(path):
            pass


def test_regular_files_only(tmp_path):
    os.mkfifo(tmp_path / "pipe.txt")
    (tmp_path / "zero.txt").symlink_to("/dev/zero")
    (tmp_path / "folder.txt").mkdir()
    for name, kind in (
        ("pipe", "a pipe"),
        ("zero", "a device"),
        ("folder", "a folder"),
    ):
        path = tmp_path / f"{name}.txt"
        with pytest.raises(DamagedFileError, match=f"{path}: .*{kind}"):
            read_documents(path)
        if kind != "a folder":
            with pytest.raises(DamagedFileError, match=f"{path}: .*{kind}"):
                load(path)
            with pytest.raises(DamagedFileError, match=f"{path}: .*{kind}"):
                load(tmp_path)
            path.unlink()


def test_tables_are_refused_with_what_to_do(tmp_path):
    for name in ("a.csv", "a.parquet", "a.tsv.gz"):
        (tmp_path / name).write_text("x")
        with pytest.raises(ValueError, match=f"a line of .jsonl.*{name}$"):
            load(tmp_path / name)
