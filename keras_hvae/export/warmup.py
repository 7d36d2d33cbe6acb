"""Requests that a server answers before it takes others."""

import pathlib
from typing import Any

import tensorflow as tf

FILE = "assets.extra/tf_serving_warmup_requests"
# Rows of the requests: a short and a wider one.
ROWS = 1, 8
STRINGS = {"sentences": [["Good morrow.", ""]]}
NUMBERS = {
    "seed": 1,
    "temperature": 0.8,
    "top_p": 0.9,
    "weight": 0.5,
}


def write(folder: pathlib.Path, signatures: Any, max_documents: int) -> bool:
    """Writes a request for each signature, as TensorFlow Serving reads them.

    Args:
        folder: of the version.
        signatures: see `savedmodel.signature_table`.
        max_documents: most rows of a request.

    Returns:
        Whether it was written: tensorflow-serving-api has the format.
    """
    try:
        from tensorflow_serving.apis import (
            model_pb2,
            predict_pb2,
            prediction_log_pb2,
        )
    except ImportError:
        return False
    path = folder / FILE
    path.parent.mkdir(exist_ok=True)
    with tf.io.TFRecordWriter(str(path)) as writer:
        for name, table in signatures.items():
            for rows in {min(rows, max_documents) for rows in ROWS}:
                request = predict_pb2.PredictRequest(
                    model_spec=model_pb2.ModelSpec(signature_name=name)
                )
                for key, value in example(table["inputs"], rows).items():
                    request.inputs[key].CopyFrom(tf.make_tensor_proto(value))
                log = prediction_log_pb2.PredictLog(request=request)
                log = prediction_log_pb2.PredictionLog(predict_log=log)
                writer.write(log.SerializeToString())
    return True


def example(inputs: Any, rows: int) -> dict:
    """A request for a signature, tensors by name."""
    tensors = {}
    for name, spec in inputs.items():
        if name in STRINGS:
            value = tf.constant(STRINGS[name])
        elif spec["dtype"] == "string":
            value = tf.constant(["Good morrow.\nHow now?"])
        else:
            shape = [1, *spec["shape"][1:]]
            value = tf.fill(shape, tf.cast(NUMBERS.get(name, 0), spec["dtype"]))
        tensors[name] = tf.repeat(value, rows, axis=0)
    return tensors
