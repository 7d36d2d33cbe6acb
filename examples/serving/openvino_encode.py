"""The latents of documents by OpenVINO, a runtime without TensorFlow.

    pip install openvino openvino-tokenizers
    keras-hvae export my_model saved_models/my_sentences \
        --signatures encode_sentences
    python openvino_encode.py saved_models/my_sentences/1 "Good day." "How now?"

Each argument is a sentence of one document. OpenVINO reads one signature of a
SavedModel, its default one, and `encode_sentences` is made of operations that
it knows.
"""

import json
import sys

import numpy as np
import openvino
import openvino_tokenizers  # noqa: F401  its import brings string operations


def load(version):
    """A function from sentences `(B, S)` to a dict of arrays."""
    # Some CPUs would compute in bfloat16 unless told not to.
    model = openvino.compile_model(
        openvino.convert_model(version),
        "CPU",
        {"INFERENCE_PRECISION_HINT": "f32"},
    )

    def encode(sentences):
        answer = model([np.array(sentences)])
        return {
            next(iter(key.get_names())): np.array(x)
            for key, x in answer.items()
        }

    return encode


if __name__ == "__main__":
    answer = load(sys.argv[1])([sys.argv[2:]])
    print(json.dumps({key: x[0].tolist() for key, x in answer.items()}))
