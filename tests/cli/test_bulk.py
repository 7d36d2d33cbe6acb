"""Jobs of many documents, in parts; those on Ray start a cluster."""

import importlib.util
import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest

pytest.importorskip("pyarrow")
import pyarrow  # noqa: E402
import pyarrow.parquet  # noqa: E402

from keras_hvae.cli import bulk, main  # noqa: E402
from keras_hvae.cli.parser import build_parser  # noqa: E402
from keras_hvae.files import DamagedFileError  # noqa: E402


@pytest.fixture
def sources(tmp_path):
    """A folder of three kinds of files; one document is none, one blank."""
    folder = tmp_path / "sources"
    folder.mkdir()
    (folder / "a.txt").write_text("the king sees.\na dog.\n\nold cat.\n")
    lines = [{"sentences": [f"the queen loves {i}."]} for i in range(5)]
    lines[2] = {"other": 1}
    lines[3] = {"sentences": []}
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (folder / "b.jsonl").write_text(text)
    table = pyarrow.table({"sentences": [["a cat.", "the dog."], ["king."]]})
    pyarrow.parquet.write_table(table, folder / "c.parquet")
    return folder


def arguments(verb, trained, sources, out):
    return build_parser().parse_args(
        [verb, str(trained), str(sources), "--cluster=local", f"--out={out}"]
    )


def rows(out):
    return [
        row
        for path in sorted(pathlib.Path(out).glob("part-*.parquet"))
        for row in pyarrow.parquet.read_table(path).to_pylist()
    ]


@pytest.mark.slow
def test_parts_hold_what_the_plain_command_prints(
    trained, sources, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(bulk, "PART", 2)
    args = arguments("score", trained, sources, tmp_path / "out")
    files = bulk.start("score", args)
    assert [x.name for x in files] == ["a.txt", "b.jsonl", "c.parquet"]
    worker = bulk.Worker("score", args)
    parts = [p for i, x in enumerate(files) for p in bulk.parts(x, i, args.key)]
    assert len(parts) == 5
    for part in reversed(parts):  # in any order
        worker.do(part)
    # Parts without a document that can be read have the same columns.
    schemas = [
        pyarrow.parquet.read_schema(x)
        for x in (tmp_path / "out").glob("part-*.parquet")
    ]
    assert all(x.equals(schemas[0]) for x in schemas)
    counts = bulk.finish(args)
    assert counts == {"read": 9, "written": 7, "not a document": 1, "blank": 1}
    found = [row for row in rows(tmp_path / "out") if "a.txt" in row["file"]]
    capsys.readouterr()
    assert main(["score", str(trained), str(sources / "a.txt")]) == 0
    printed = map(json.loads, capsys.readouterr().out.splitlines())
    for row, line in zip(found, printed, strict=True):
        assert row.pop("file") == str(sources / "a.txt")
        assert row == line
    # Documents that are left out keep their numbers.
    numbers = [
        x["index"] for x in rows(tmp_path / "out") if "b.js" in x["file"]
    ]
    assert numbers == [0, 1, 4]


def test_a_folder_of_another_job_is_refused(tmp_path, sources):
    trained, out = tmp_path / "model.keras", tmp_path / "out"
    bulk.start("score", arguments("score", trained, sources, out))
    bulk.start("score", arguments("score", trained, sources, out))
    with pytest.raises(ValueError, match="same job.*other command, options"):
        bulk.start("encode", arguments("encode", trained, sources, out))
    trained.write_bytes(b"another model")
    with pytest.raises(ValueError, match="with other model"):
        bulk.start("score", arguments("score", trained, sources, out))
    trained.unlink()
    (sources / "a.txt").write_text("grown.\n")
    with pytest.raises(ValueError, match="with other files"):
        bulk.start("score", arguments("score", trained, sources, out))
    other = tmp_path / "other"
    other.mkdir()
    (other / "mine").touch()
    with pytest.raises(ValueError, match="must be a new folder"):
        bulk.start("score", arguments("score", trained, sources, other))


def test_a_broken_parquet_file_is_named(tmp_path):
    path = tmp_path / "x.parquet"
    path.write_bytes(b"no parquet file")
    with pytest.raises(DamagedFileError, match="x.parquet: expected a whole"):
        list(bulk.parts(path, 0, "sentences"))


@pytest.mark.slow
@pytest.mark.full
@pytest.mark.skipif(
    importlib.util.find_spec("ray") is None, reason="Ray is not installed"
)
def test_a_job_on_ray_that_was_killed_goes_on(trained, tmp_path):
    source = tmp_path / "many.txt"
    source.write_text("the king sees.\na dog.\n\n" * 6000)
    out = tmp_path / "out"
    command = [sys.executable, "-m", "keras_hvae.cli"]
    command += ["encode", str(trained), str(source), "--cluster=local"]
    command += [f"--out={out}", "--batch-size=200"]
    process = subprocess.Popen(command, start_new_session=True)
    deadline = time.time() + 300
    while len(list(out.glob("part-*.parquet"))) < 2:
        assert process.poll() is None and time.time() < deadline
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    before = {x: x.stat().st_mtime_ns for x in out.glob("part-*.parquet")}
    assert len(before) < 6
    subprocess.run(command, check=True, timeout=600)
    for path, time_written in before.items():
        assert path.stat().st_mtime_ns == time_written
    counts = json.loads((out / "counts.json").read_text())
    assert counts == {"read": 6000, "written": 6000}
    assert [row["index"] for row in rows(out)] == list(range(6000))
    assert not [x for x in out.iterdir() if x.name.startswith(".")]
