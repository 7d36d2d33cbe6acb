"""Files as anyone could send them: whole ones, and what is made of them.

`WHOLE` has for each kind of file what writes a whole one and what reads it;
`HOSTILE` what an attacker makes of a whole one, with correct SHA-256 sums.
The tests and `benchmarks/faults_files.py` use both.
"""

import argparse
import bz2
import gzip
import hashlib
import io
import itertools
import json
import lzma
import os
import pathlib
import shutil
import socket
import struct
import zipfile
import zlib

import h5py
import numpy as np

from keras_hvae.checksums import model_digest, write_sums
from keras_hvae.cli import model_folder

WORDS = ["yes", "no", "king", ".", "?"]
DOCUMENTS = [
    [f"Yes {i} king {j} " + "no " * ((3 * i + j) % 5) for j in range(i % 4 + 1)]
    for i in range(30)
]


def model():
    import keras_hvae

    return keras_hvae.HVAE(WORDS, latent_dim=2, embedding_dim=4, hidden_dim=6)


# === Whole ones: each a function that writes, and one that reads. ===


def write_keras(path):
    model().save(path)


def write_preset(path):
    model().save_to_preset(path)


def write_corpus(path):
    from keras_hvae.data import load

    load(DOCUMENTS, batch_size=4).save(path)


def write_text(path):
    text = "\n\n".join("\n".join(x) for x in DOCUMENTS)
    path.write_bytes(PACK.get(path.suffix, bytes)(text.encode()))


def write_jsonl(path):
    lines = "".join(json.dumps({"sentences": x}) + "\n" for x in DOCUMENTS)
    path.write_bytes(PACK.get(path.suffix, bytes)(lines.encode()))


def write_vectors(path):
    path.write_text("".join(f"{x} {i} 0.5\n" for i, x in enumerate(WORDS)))


def write_settings(path):
    path.mkdir()
    write_keras(path / "model.keras")
    model_folder.write_settings(path, {"max_sentences": 7, "split_seed": 0})


def write_version(path):
    """A folder that is to `verify` what an export is, with a tiny graph."""
    (path / "1" / "variables").mkdir(parents=True)
    version = path / "1"
    (version / "saved_model.pb").write_bytes(graph().SerializeToString())
    (version / "variables" / "variables.index").write_bytes(b"index" * 50)
    about = {"parameters": 3, "keras_hvae": "0.1.0", "signatures": {"score": 1}}
    (version / "keras_hvae.json").write_text(json.dumps(about))
    write_sums(version)


def graph():
    from tensorflow.core.protobuf import saved_model_pb2

    saved = saved_model_pb2.SavedModel(saved_model_schema_version=1)
    meta = saved.meta_graphs.add()
    for i in range(30):
        meta.graph_def.node.add(name=f"node_{i}", op="Placeholder")
    body = meta.graph_def.library.function.add()
    body.signature.name = "__inference_encode_1"
    body.node_def.add(name="x", op="Tanh")
    save = meta.graph_def.library.function.add()
    save.signature.name = "__inference__traced_save_2"
    save.node_def.add(name="x", op="SaveV2")
    call = meta.graph_def.node.add(name="save", op="StatefulPartitionedCall")
    call.attr["f"].func.name = save.signature.name
    meta.saver_def.save_tensor_name = "save:0"
    return saved


def write_checkpoint(path):
    from keras_hvae.training.checkpoint_files import write_checkpoint

    state = {"step": 3, "weights": [np.arange(2000.0)], "log": "epoch,loss"}
    write_checkpoint(path.parent / "checkpoints", 0, 3, state).rename(path)


def read_checkpoint(path):
    from keras_hvae.training.checkpoint_files import read_checkpoint

    state = read_checkpoint(path)
    return {**state, "weights": [x.tolist() for x in state["weights"]]}


def read_model(path):
    import keras_hvae

    return model_digest(keras_hvae.load_model(path))


def read_corpus(path):
    from keras_hvae.data import load

    corpus = load(path, batch_size=4)
    sums = hashlib.sha256()
    for part in (corpus.train, corpus.valid, corpus.test):
        for ids in part:
            sums.update(np.asarray(ids).tobytes())
    return sums.hexdigest()


def read_documents(path):
    from keras_hvae.data import read_documents

    return list(read_documents(path))


def read_vectors(path):
    from keras_hvae.evaluation import load_vectors

    return {word: x.tolist() for word, x in load_vectors(path).items()}


def read_settings(path):
    from keras_hvae.cli.windows import read_windows

    args = argparse.Namespace(
        model=path, batch_size=4, documents=path / "x.txt", key="sentences"
    )
    (path / "x.txt").write_text("Yes.\n" * 9)
    return list(read_windows(args))


def read_version(path):
    from keras_hvae.export import verify

    return [(x, sorted(about)) for x, about in verify(path).items()]


PACK = {".gz": gzip.compress, ".xz": lzma.compress, ".bz2": bz2.compress}
WHOLE = {
    "model.keras": (write_keras, read_model),
    "preset": (write_preset, read_model),
    "corpus.npz": (write_corpus, read_corpus),
    "records": (write_corpus, read_corpus),
    "documents.txt": (write_text, read_documents),
    "documents.jsonl": (write_jsonl, read_documents),
    "documents.jsonl.gz": (write_jsonl, read_documents),
    "documents.jsonl.xz": (write_jsonl, read_documents),
    "documents.txt.bz2": (write_text, read_documents),
    "vectors.txt": (write_vectors, read_vectors),
    "trained": (write_settings, read_settings),
    "exported": (write_version, read_version),
    "checkpoint": (write_checkpoint, read_checkpoint),
}

# === Hostile ones: each a function that changes a whole one. ===


def summed(folder):
    (folder / "SHA256SUMS").unlink()
    write_sums(folder)


def archive_with(path, compression=zipfile.ZIP_STORED, twice=(), **changes):
    """Writes the members of a `.keras` file anew, with changes; and more."""
    with zipfile.ZipFile(path) as source:
        members = {x: source.read(x) for x in source.namelist()}
    names = {"config": "config.json", "weights": "model.weights.h5"}
    for name, data in changes.items():
        members[names.get(name, name)] = data
    with zipfile.ZipFile(path, "w", compression) as target:
        for name, data in [*members.items(), *twice]:
            target.writestr(name, data)


def config_with(change):
    """An attack on the config of a `.keras` file and of a preset."""

    def attack(path):
        if path.is_dir():
            config = json.loads((path / "config.json").read_text())
            change(config)
            (path / "config.json").write_text(json.dumps(config))
            return summed(path)
        with zipfile.ZipFile(path) as archive:
            config = json.loads(archive.read("config.json"))
        change(config)
        archive_with(path, config=json.dumps(config))

    return attack


def object_of(module, name, /, **config):
    return {
        "module": module,
        "class_name": name,
        "config": config,
        "registered_name": None,
    }


LAMBDA = object_of(
    "keras.layers",
    "Lambda",
    name="x",
    function={
        "class_name": "__lambda__",
        "config": {"code": "4wEAAAA=", "defaults": None, "closure": None},
    },
)
OBJECTS = {
    "a Lambda": LAMBDA,
    "TFSMLayer": object_of("keras.layers", "TFSMLayer", filepath="/elsewhere"),
    "a vocabulary elsewhere": object_of(
        "keras.layers", "StringLookup", vocabulary="/etc/passwd"
    ),
    "a pickle": object_of("keras.layers", "TorchModuleWrapper", module="gASV"),
    "os.system": {
        "module": "os",
        "class_name": "function",
        "config": "system",
        "registered_name": "system",
    },
    "a download": {
        "module": "keras.utils",
        "class_name": "function",
        "config": "get_file",
        "registered_name": "get_file",
    },
}


def weights_with(write):
    """An attack on the HDF5 file of a `.keras` file and of a preset."""

    def attack(path):
        place = path.parent / "attack.h5"
        old = path / "model.weights.h5"
        if path.is_dir():
            shutil.copy(old, place)
        else:
            with zipfile.ZipFile(path) as archive:
                place.write_bytes(archive.read("model.weights.h5"))
        with h5py.File(place, "r+") as file:
            write(file, path.parent)
        data = place.read_bytes()
        place.unlink()
        if path.is_dir():
            old.write_bytes(data)
            summed(path)
        else:
            archive_with(path, weights=data)

    return attack


def arrays(file):
    """Groups and names of all arrays in an HDF5 file."""
    found = []
    file.visititems(
        lambda name, x: found.append(name) if hasattr(x, "shape") else None
    )
    return found


def external_link(file, folder):
    name = arrays(file)[0]
    del file[name]
    with h5py.File(folder / "elsewhere.h5", "w") as other:
        other["secret"] = np.ones(3)
    file[name] = h5py.ExternalLink(str(folder / "elsewhere.h5"), "secret")


def soft_link(file, folder):
    first, second = arrays(file)[:2]
    del file[first]
    file[first] = h5py.SoftLink(f"/{second}")


def external_data(file, folder):
    name = arrays(file)[0]
    shape = file[name].shape
    del file[name]
    (folder / "secret").write_bytes(bytes(4096))
    file.create_dataset(
        name, shape, "float32", external=[(str(folder / "secret"), 0, 4096)]
    )


def virtual_data(file, folder):
    name = arrays(file)[0]
    shape = file[name].shape
    del file[name]
    layout = h5py.VirtualLayout(shape, "float32")
    layout[...] = h5py.VirtualSource(str(folder / "other.h5"), "x", shape)
    file.create_virtual_dataset(name, layout)


def shape_bomb(file, folder):
    name = arrays(file)[0]
    del file[name]
    file.create_dataset(name, (10**9, 4), "float32", chunks=(1000, 4))


def chunk_bomb(file, folder):
    """A small array in one chunk of 256 MiB of zeros."""
    name = arrays(file)[0]
    del file[name]
    x = file.create_dataset(
        name, (4,), "float32", maxshape=(None,), chunks=(2**26,),
        compression="gzip",
    )  # fmt: skip
    x[:] = 1.0


def zeros_bomb(file, folder):
    """An array of 256 MiB, compressed a thousandfold."""
    file.create_dataset(
        "more", (2**26,), "float32", chunks=(2**20,), compression="gzip"
    )
    file["more"][:] = 0.0


def objects(file, folder):
    file.create_dataset("more", data=["a"] * 3, dtype=h5py.string_dtype())


def not_numbers(file, folder):
    name = max(arrays(file), key=lambda x: file[x].size)
    file[name][...] = np.nan


def member(name, data=b"x"):
    return lambda path: archive_with(path, **{name: data})


def twins(path):
    with zipfile.ZipFile(path) as archive:
        config = archive.read("config.json")
    with warnings_off():
        archive_with(path, twice=[("config.json", config)])


def warnings_off():
    import warnings

    context = warnings.catch_warnings()
    warnings.simplefilter("ignore")
    return context


def deflated(path):
    archive_with(path, zipfile.ZIP_DEFLATED, weights=bytes(2**28))


def directory_bomb(path):
    """As many members as fit into a few MiB; each takes 10 times as much."""
    with zipfile.ZipFile(path, "a") as archive:
        for i in range(30_000):
            archive.writestr(f"{i}", b"")


def npz_bomb(path):
    """2^28 ids of 0: 1 GiB in a file of a MiB."""
    with zipfile.ZipFile(path) as archive:
        members = {x: archive.read(x) for x in archive.namelist()}
    head = io.BytesIO()
    about = {"descr": "<i4", "fortran_order": False, "shape": (2**28,)}
    np.lib.format.write_array_header_1_0(head, about)
    del members["train_ids.npy"]
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
        with archive.open("train_ids.npy", "w", force_zip64=True) as file:
            file.write(head.getvalue())
            for _ in range(2**10):
                file.write(bytes(2**20))


def checkpoint_with(change):
    """An attack: an archive of a checkpoint, with its correct SHA-256."""

    def attack(path):
        with zipfile.ZipFile(path) as archive:
            members = {x: archive.read(x) for x in archive.namelist()}
        packed = change(members) or zipfile.ZIP_STORED
        content = io.BytesIO()
        with zipfile.ZipFile(content, "w", packed) as archive:
            for name, data in members.items():
                archive.writestr(name, data)
        digest = hashlib.sha256(content.getvalue()).hexdigest()
        path.write_bytes(digest.encode() + b"\n" + content.getvalue())

    return attack


def zeros(members):
    """256 MiB in a file of 300 KiB."""
    content = io.BytesIO()
    np.save(content, np.zeros(2**28, "int8"))
    members["a0.npy"] = content.getvalue()
    return zipfile.ZIP_DEFLATED


def huge(members):
    content = io.BytesIO()
    about = {"descr": "<f8", "fortran_order": False, "shape": (2**50,)}
    np.lib.format.write_array_header_1_0(content, about)
    members["a0.npy"] = content.getvalue() + bytes(100)


def pickled(members):
    content = io.BytesIO()
    np.save(content, np.array([print], dtype=object), allow_pickle=True)
    members["a0.npy"] = content.getvalue()


def text_of(text):
    def change(members):
        content = io.BytesIO()
        np.save(content, np.frombuffer(text.encode(), np.uint8))
        members["text.npy"] = content.getvalue()

    return change


def sums_of(path):
    return next(path.rglob("SHA256SUMS"))


def no_sums(path):
    sums_of(path).unlink()


def empty_sums(path):
    sums_of(path).write_bytes(b"")


def altered_and_empty_sums(path):
    next(path.rglob("saved_model.pb")).write_bytes(b"another graph")
    empty_sums(path)


def sums_above(path):
    sums = sums_of(path)
    (path.parent / "secret").write_bytes(b"secret")
    up = os.path.relpath(path.parent / "secret", sums.parent)
    digest = hashlib.sha256(b"secret").hexdigest()
    sums.write_text(sums.read_text() + f"{digest}  {up}\n")


def sums_absolute(path):
    (path.parent / "secret").write_bytes(b"secret")
    sums = sums_of(path)
    digest = hashlib.sha256(b"secret").hexdigest()
    sums.write_text(sums.read_text() + f"{digest}  {path.parent}/secret\n")


def largest_in(path):
    files = [x for x in path.rglob("*") if x.is_file()]
    files = [x for x in files if x.name != "SHA256SUMS"]
    return max(files, key=lambda x: x.stat().st_size)


def link_out(path):
    """A file is moved away, and a link left; its sum stays right."""
    file = largest_in(path)
    file.rename(path.parent / "moved")
    file.symlink_to(path.parent / "moved")


def sums_link_out(path):
    file = sums_of(path)
    file.rename(path.parent / "moved")
    file.symlink_to(path.parent / "moved")


def in_the_place_of(kind, choose=largest_in):
    """A pipe, a socket, a device or a link to itself for a file."""

    def attack(path):
        file = choose(path) if path.is_dir() else path
        file.unlink()
        special(kind, file)

    return attack


def special(kind, file):
    if kind == "a pipe":
        os.mkfifo(file)
    elif kind == "a socket":
        # The path of a socket is short.
        here = os.getcwd()
        os.chdir(file.parent)
        try:
            with socket.socket(socket.AF_UNIX) as made:
                made.bind(file.name)
        finally:
            os.chdir(here)
    elif kind == "a device":
        file.symlink_to("/dev/zero")
    elif kind == "a link to itself":
        file.symlink_to(file)
    elif kind == "a folder":
        file.mkdir()


def pipe_beside(path):
    os.mkfifo(sums_of(path).parent / "more")


def link_beside(path):
    (sums_of(path).parent / "more").symlink_to("/etc/passwd")


def version_elsewhere(path):
    (path / "1").rename(path.parent / "moved")
    (path / "1").symlink_to(path.parent / "moved")


def sidecar_of(text):
    def attack(path):
        (path / "1" / "keras_hvae.json").write_text(text)
        summed(path / "1")

    return attack


def graph_with(change):
    def attack(path):
        from tensorflow.core.protobuf import saved_model_pb2

        file = path / "1" / "saved_model.pb"
        saved = saved_model_pb2.SavedModel.FromString(file.read_bytes())
        change(saved.meta_graphs[0])
        file.write_bytes(saved.SerializeToString())
        summed(path / "1")

    return attack


def node_in_function(op):
    return lambda meta: meta.graph_def.library.function[0].node_def.add(
        name="y", op=op
    )


def saving_function(meta):
    """A function of a signature that calls the one that writes files."""
    save = meta.graph_def.library.function[1].signature.name
    call = meta.graph_def.library.function[0].node_def.add(
        name="y", op="PartitionedCall"
    )
    call.attr["f"].func.name = save


def saving_signature(meta):
    meta.signature_def["encode"].outputs["mean"].name = "save:0"


def saving_second(meta):
    save = meta.graph_def.library.function[1].signature.name
    call = meta.graph_def.node.add(name="y", op="StatefulPartitionedCall")
    call.attr["f"].func.name = save


def waits_for_saving(meta):
    meta.graph_def.node.add(name="y", op="NoOp", input=["^save"])


def saving_for_anyone(meta):
    save = meta.graph_def.library.function[1].signature.name
    meta.object_graph_def.concrete_functions[save].SetInParent()


def no_graph(path):
    (path / "1" / "saved_model.pb").write_bytes(b"no graph at all")
    summed(path / "1")


def record_bomb(path):
    """A record that says it is of 2^60 bytes, with the right checksum."""
    import tensorflow as tf

    file = path / "train.tfrecord"
    length = struct.pack("<Q", 2**60)
    # The writer computes checksums: of a record that is the length.
    with tf.io.TFRecordWriter(str(file) + ".x") as writer:
        writer.write(length)
    whole = pathlib.Path(str(file) + ".x").read_bytes()
    pathlib.Path(str(file) + ".x").unlink()
    file.write_bytes(length + whole[-4:] + b"more")
    summed(path)


def foreign_ids(path):
    """Ids that the vocabulary does not have, in right TFRecords."""
    import tensorflow as tf

    def feature(numbers):
        return tf.train.Feature(int64_list=tf.train.Int64List(value=numbers))

    with tf.io.TFRecordWriter(str(path / "train.tfrecord")) as writer:
        features = {"ids": feature([5, 10**6, 3]), "words": feature([3])}
        features = tf.train.Features(feature=features)
        writer.write(tf.train.Example(features=features).SerializeToString())
    summed(path)


def about_of_objects(path):
    about = json.loads((path / "keras_hvae.json").read_text())
    about["preprocessor"]["tokenizer"] = LAMBDA
    (path / "keras_hvae.json").write_text(json.dumps(about))
    summed(path)


def packed_bomb(path):
    """64 MiB of one line after the other, compressed a thousandfold."""
    line = b'{"sentences": ["' + b"a " * 500_000 + b'"]}\n'
    path.write_bytes(PACK[path.suffix](line * 64))


def xz_memory_bomb(path):
    """A file of some bytes that asks for 4 GiB of memory to be unpacked."""
    data = bytearray(path.read_bytes())
    size = (data[12] + 1) * 4
    data[12 + 4] = 40  # the size of the dictionary
    sums = zlib.crc32(bytes(data[12 : 12 + size - 4]))
    data[12 + size - 4 : 12 + size] = struct.pack("<I", sums)
    path.write_bytes(data)


def line_bomb(path):
    """One line of 17 MiB."""
    path.write_bytes(b"a" * (17 << 20))


def deep_json(path):
    path.write_bytes(b'{"sentences": ' + b"[" * 100_000)


def settings_of(**settings):
    def attack(path):
        (path / "settings.json").write_text(json.dumps(settings))

    return attack


def settings_link(path):
    (path.parent / "moved").write_text('{"max_sentences": 3}')
    (path / "settings.json").unlink()
    (path / "settings.json").symlink_to(path.parent / "moved")


SPECIALS = ["a pipe", "a socket", "a device", "a link to itself", "a folder"]
FOLDERS = {
    "no list of sums": no_sums,
    "an empty list of sums": empty_sums,
    "../ in the list": sums_above,
    "an absolute path in the list": sums_absolute,
    "a link outward": link_out,
    "a list that is a link outward": sums_link_out,
    "a list that is a pipe": in_the_place_of("a pipe", sums_of),
}
MODELS = {
    **{
        f"{name} in the arguments": config_with(
            lambda config, x=x: config["config"].update(emission=x)
        )
        for name, x in OBJECTS.items()
    },
    **{
        f"{name} as tokenizer": config_with(
            lambda config, x=x: config["config"]["vocabulary"]["config"].update(
                tokenizer=x
            )
        )
        for name, x in OBJECTS.items()
    },
    "a link to another HDF5 file": weights_with(external_link),
    "a link in the HDF5 file": weights_with(soft_link),
    "weights of another file": weights_with(external_data),
    "a virtual array": weights_with(virtual_data),
    "an array that is not stored": weights_with(shape_bomb),
    "a chunk much larger than its array": weights_with(chunk_bomb),
    "an array of zeros, compressed": weights_with(zeros_bomb),
    "strings as weights": weights_with(objects),
    "NaN as weights": weights_with(not_numbers),
}
ATTACKS = {
    "model.keras": {
        **MODELS,
        **{
            f"{name} to compile with": config_with(
                lambda config, x=x: config.update(
                    compile_config={"optimizer": "adam", "loss": x}
                )
            )
            for name, x in OBJECTS.items()
        },
        "a member ../x": member("../x"),
        "a member /x": member("/x"),
        "a member of assets": member("assets/x"),
        "two members of a name": twins,
        "weights compressed a thousandfold": deflated,
        "thousands of members": directory_bomb,
        **{x: in_the_place_of(x) for x in SPECIALS if x != "a folder"},
    },
    "preset": {
        **MODELS,
        **FOLDERS,
        **{x: in_the_place_of(x) for x in SPECIALS},
    },
    "corpus.npz": {
        "ids compressed a thousandfold": npz_bomb,
        "thousands of members": directory_bomb,
        "a member ../x": member("../x.npy"),
        **{x: in_the_place_of(x) for x in SPECIALS if x != "a folder"},
    },
    "records": {
        # Without a list it is a folder of version 0.1.0, with other names.
        **FOLDERS,
        "a record of 2^60 bytes": record_bomb,
        "a Lambda as tokenizer": about_of_objects,
        **{x: in_the_place_of(x) for x in SPECIALS},
    },
    **{
        f"documents{suffix}": {
            x: in_the_place_of(x) for x in SPECIALS if x != "a folder"
        }
        for suffix in (".txt", ".jsonl", ".jsonl.gz", ".jsonl.xz", ".txt.bz2")
    },
    "vectors.txt": {
        "a line of 17 MiB": line_bomb,
        **{x: in_the_place_of(x) for x in SPECIALS},
    },
    "trained": {
        "settings that are a link outward": settings_link,
        "10^9 sentences": settings_of(max_sentences=10**9),
        "another digest": settings_of(max_sentences=7, sha256="0" * 64),
        "no number of sentences": settings_of(max_sentences="7"),
        **{
            f"settings that are {x}": in_the_place_of(
                x, lambda path: path / "settings.json"
            )
            for x in SPECIALS
        },
    },
    "exported": {
        **FOLDERS,
        "another graph and an empty list of sums": altered_and_empty_sums,
        "no graph": no_graph,
        **{
            f"{op} in the graph": graph_with(
                lambda meta, op=op: meta.graph_def.node.add(name="y", op=op)
            )
            for op in ("ReadFile", "WriteFile", "EagerPyFunc", "SaveV2")
        },
        **{
            f"{op} in a function": graph_with(node_in_function(op))
            for op in (
                "ReadFile",
                "WriteFile",
                "PyFunc",
                "TextLineDataset",
                "InitializeTableFromTextFileV2",
                "PrintV2",
                "DebugIdentity",
            )
        },
        "a function that saves": graph_with(saving_function),
        "a signature that saves": graph_with(saving_signature),
        "a second call that saves": graph_with(saving_second),
        "a node that waits for saving": graph_with(waits_for_saving),
        "saving for anyone": graph_with(saving_for_anyone),
        "a pipe beside": pipe_beside,
        "a link beside": link_beside,
        "a version that is a link outward": version_elsewhere,
        "a sidecar that is no JSON": sidecar_of("{"),
        "a sidecar of JSON, but another": sidecar_of("[]"),
        "a sidecar without end": sidecar_of("[" * 100_000),
        **{x: in_the_place_of(x) for x in SPECIALS},
    },
}
ATTACKS["checkpoint"] = {
    "an array of zeros, compressed": checkpoint_with(zeros),
    "an array of 2^50 numbers": checkpoint_with(huge),
    "an array of Python objects": checkpoint_with(pickled),
    "no text": checkpoint_with(
        lambda members: members.pop("text.npy") and None
    ),
    "deep JSON": checkpoint_with(text_of("[" * 100_000)),
    "JSON of another kind": checkpoint_with(text_of('{"a": 1}')),
    "a list of JSON": checkpoint_with(text_of("[1]")),
    "an array that is not there": checkpoint_with(
        text_of('{"dict": {"x": {"array": "a9"}}}')
    ),
    **{x: in_the_place_of(x) for x in SPECIALS},
}
ATTACKS["documents.jsonl.gz"]["a bomb"] = packed_bomb
ATTACKS["documents.jsonl.xz"]["a bomb"] = packed_bomb
ATTACKS["documents.txt.bz2"]["a bomb"] = packed_bomb
ATTACKS["documents.jsonl.xz"]["4 GiB to unpack"] = xz_memory_bomb
ATTACKS["documents.txt"]["a line of 17 MiB"] = line_bomb
ATTACKS["documents.jsonl"]["deep JSON"] = deep_json
HOSTILE = [(kind, name) for kind in ATTACKS for name in ATTACKS[kind]]


def write_all(folder):
    """Writes a whole file or folder of each kind; paths by kind."""
    paths = {kind: folder / kind for kind in WHOLE}
    for kind, (write, _) in WHOLE.items():
        write(paths[kind])
    return paths


def copy(path, folder):
    """A copy in a folder of its own, so that nothing is beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    if path.is_dir():
        return shutil.copytree(path, folder / path.name, symlinks=True)
    return pathlib.Path(shutil.copy(path, folder / path.name))


def flips(data, count, rng):
    """Copies of bytes with a bit flipped, `count` of them."""
    for place, bit in zip(
        rng.integers(0, len(data), count), rng.integers(0, 8, count)
    ):
        changed = bytearray(data)
        changed[place] ^= 1 << int(bit)
        yield bytes(changed)


def cuts(data, count, rng):
    """The beginnings of bytes, `count` of them."""
    for size in itertools.islice(rng.permutation(len(data)), count):
        yield data[:size]
