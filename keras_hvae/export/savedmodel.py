"""Writes a model as a versioned SavedModel."""

import os
import pathlib
from collections.abc import Collection
from typing import Any

import keras

from keras_hvae.arguments import check_choice, check_positive_int
from keras_hvae.checksums import model_digest, write_sums
from keras_hvae.export.publishing import publish
from keras_hvae.files import write_json
from keras_hvae.models.document_model import DocumentModel
from keras_hvae.presets.finite import find_not_finite
from keras_hvae.text import Preprocessor
from keras_hvae.version import __version__
from keras_hvae.whole_files import SIDECAR

# Of a sentence, where the vocabulary does not say.
MAX_WORDS = 64
WRITE_WORDS = 30


def export_savedmodel(
    model: DocumentModel,
    path: str | os.PathLike,
    version: int | None = None,
    num_sentences: int = 6,
    write_words: int | None = None,
    max_documents: int = 16,
    max_sentences: int = 32,
    max_words: int | None = None,
    signatures: Collection[str] | None = None,
) -> pathlib.Path:
    """Writes a model as a SavedModel that answers strings with strings.

    `path/version/` gets the graph with tokenizer and vocabulary in it, the
    sidecar `keras_hvae.json` (signatures, caps, versions), `SHA256SUMS` (see
    `verify`) and, where tensorflow-serving-api is installed, requests to warm
    a server up. It is written under a name that no server looks at and then
    renamed; a version that is there is never touched.

    Signatures (all inputs and outputs have the batch first):

    - `serving_default`, `reply`: the sentence after a document, as
      `model.reply` writes it;
    - `reply_state`: the same, going on with a conversation from its state;
    - `generate`, `reconstruct`, `interpolate`;
    - `encode`, `encode_sentences` (for rows of sentences), `score`.

    Every row has its own `seed`: what is written for it is the same in any
    batch, and what the model's method of that name writes in Python with
    `seed=[seed]`, the same `temperature` and `top_p` and
    `max_words=write_words`.

    Args:
        model: a model with a chain of latents, such as `HVAE`, and a
            vocabulary of words.
        path: folder of the model, made if it is not there.
        version: int >= 1; default: one more than the largest there.
        num_sentences: how many sentences `generate` writes.
        write_words: largest number of words of a sentence that is written;
            default: 30, or `max_words` if that is less.
        max_documents: rows that a request may have.
        max_sentences: sentences of a document that are read; more are cut
            off, which the output `truncated` tells.
        max_words: words of a sentence that are read; default, and at most,
            as many as the model's preprocessor reads.
        signatures: names of those to export, all if not given; the first one
            is `serving_default`, too. For runtimes that know one signature
            of a model only, or not the operations of all.

    Returns:
        `pathlib.Path` of the version's folder.

    Raises:
        ValueError: for a model without words or with NaN in its weights, a
            version that is there, or an argument out of range.
        NotImplementedError: for a model without a chain of latents, with a
            tokenizer that is a function of Python, with layers that are
            quantised or have LoRA, or on another backend than TensorFlow.
        OSError: if it cannot be written; what was there stays as it was.
    """
    _check_model(model)
    preprocessor: Any = model.preprocessor
    limit = preprocessor.max_words or max_words or MAX_WORDS
    max_words = limit if max_words is None else max_words
    check_positive_int(max_words=max_words)
    if max_words > limit:
        raise ValueError(
            f"`max_words` must be at most {limit}, as many as the model's "
            f"preprocessor reads. Received: {max_words}"
        )
    if write_words is None:
        write_words = min(WRITE_WORDS, max_words)
    caps = {
        "num_sentences": num_sentences,
        "write_words": write_words,
        "max_documents": max_documents,
        "max_sentences": max_sentences,
        "max_words": max_words,
    }
    check_positive_int(**caps)
    caps = {name: int(x) for name, x in caps.items()}
    if isinstance(signatures, str):
        signatures = [signatures]
    return publish(
        pathlib.Path(path),
        version,
        lambda folder: _write(model, folder, caps, signatures),
    )


def _check_model(model):
    structure = getattr(model, "latent_structure", None)
    if structure != "chain":
        latents = f", with latents: {structure}" if structure else ""
        raise NotImplementedError(
            "`model` must have a chain of latents and write from it alone, as "
            "an HVAE with `past='latents'`: the signatures read and write "
            "along it (any model has Keras' `model.export`). "
            f"Received: {type(model).__name__}{latents}"
        )
    if model.preprocessor is None:
        what = f"{model.vocabulary_size} ids only"
        if model.vocabulary_size is None:
            what = f"the {model.emission.unit}s of a "
            what += type(model.emission).__name__
        raise ValueError(
            "`model` must have a vocabulary of words, to answer strings with "
            f"strings. Received: one of {what}"
        )
    if not model.preprocessor.tokenizer.exportable:
        raise NotImplementedError(
            "A SavedModel has no Python in it: the model's `tokenizer` must "
            'be "words" or "characters" to be exported. '
            f"Received: {model.preprocessor.tokenizer.tokenizer!r}"
        )
    for layer in model._flatten_layers():
        if mode := getattr(layer, "quantization_mode", None):
            raise NotImplementedError(
                "`model` must have float weights: export it before it is "
                f"quantised. Received: {layer.path!r} with {mode}"
            )
        if getattr(layer, "lora_enabled", False):
            raise NotImplementedError(
                "`model` must have no LoRA: save it and load it again, which "
                "merges LoRA into the weights, then export it. Received: "
                f"{layer.path!r} with LoRA"
            )
    wrong = find_not_finite(model)
    if wrong is not None:
        raise ValueError(
            "`model` must have weights that are numbers. "
            f"Received: NaN in {wrong}"
        )
    if keras.config.backend() != "tensorflow":
        raise NotImplementedError(
            "A SavedModel is a TensorFlow graph: save the model, and export "
            "it with KERAS_BACKEND=tensorflow keras-hvae export. Received: "
            f"the backend {keras.config.backend()!r}"
        )


def _servable(model):
    """The same weights for any CPU: float32, no GRU of a GPU."""
    config = {**model.get_config(), "dtype": "float32", "use_cudnn": False}
    servable = type(model).from_config(config)
    servable.set_weights(model.get_weights())
    return servable


def _write(model, folder, caps, names):
    import tensorflow as tf

    from keras_hvae.export import warmup
    from keras_hvae.export.graph_reader import GraphReader
    from keras_hvae.export.signatures import Signatures

    preprocessor = Preprocessor(
        list(model.preprocessor),
        lowercase=model.preprocessor.lowercase,
        max_words=caps["max_words"],
        tokenizer=model.preprocessor.tokenizer,
    )
    reader = GraphReader(
        preprocessor,
        *(caps[x] for x in ("max_documents", "max_sentences", "max_words")),
    )
    digest = model_digest(model)
    fingerprint = int(digest[:8], 16) & 0x7FFFFFFF
    preset = model.preset
    if preset is not None and preset["model_sha256"] != digest:
        preset = None  # it has been trained on
    model = _servable(model)
    endpoints = Signatures(
        model,
        reader,
        caps["num_sentences"],
        caps["write_words"],
        fingerprint,
    ).endpoints()
    names = list(endpoints if names is None else names)
    for name in names or [None]:
        check_choice(endpoints, signatures=name)
    archive = keras.export.ExportArchive()
    # Not the model: the endpoints bring its weights, which would be stored
    # twice.
    archive.track(preprocessor.table)
    for name in names:
        function, specs = endpoints[name]
        archive.add_endpoint(name, function, list(specs))
    # Nobody trains it: no functions for gradients.
    options = tf.saved_model.SaveOptions(experimental_custom_gradients=False)
    try:
        archive.write_out(str(folder), options, verbose=False)
        # It loads, then.
        signatures = tf.saved_model.load(str(folder)).signatures
        table = signature_table(folder, signatures)
        has_warmup = warmup.write(folder, table, caps["max_documents"])
    except tf.errors.OpError as error:
        raise OSError(
            f"{folder.parent}: expected a folder in which a SavedModel can "
            f"be written and loaded. Received: {error.message}"
        ) from error
    write_json(
        folder / SIDECAR,
        {
            "keras_hvae": __version__,
            "keras": keras.__version__,
            "tensorflow": tf.__version__,
            "parameters": model.count_params(),
            "model_sha256": digest,
            "state_fingerprint": fingerprint,
            "preset": preset,
            "settings": {
                k: v
                for k, v in model.get_config().items()
                if k not in ("vocabulary", "dtype")
            },
            "caps": {**caps, "max_document_bytes": reader.max_bytes},
            "warmup": has_warmup,
            "signatures": table,
        },
    )
    write_sums(folder)


def signature_table(folder: pathlib.Path, signatures: Any) -> dict:
    """Inputs and outputs of each signature, by name.

    A dict of each: `"dtype"`, `"shape"` and `"tensor"`, its name in the
    graph, for runtimes that know no signatures, such as the C API.
    """
    from tensorflow.core.protobuf import saved_model_pb2

    graph = saved_model_pb2.SavedModel.FromString(
        (folder / "saved_model.pb").read_bytes()
    ).meta_graphs[0]

    def specs(structure, tensors):
        return {
            name: {
                "dtype": spec.dtype.name,
                "shape": list(spec.shape),
                "tensor": tensors[name].name,
            }
            for name, spec in sorted(structure.items())
        }

    return {
        name: {
            "inputs": specs(
                signatures[name].structured_input_signature[1],
                graph.signature_def[name].inputs,
            ),
            "outputs": specs(
                signatures[name].structured_outputs,
                graph.signature_def[name].outputs,
            ),
        }
        for name in sorted(signatures)
    }
