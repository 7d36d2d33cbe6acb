"""Asks a model server by gRPC.

    pip install tensorflow-serving-api
    python grpc_client.py localhost:8500 my_model

The server may be TensorFlow Serving or grpc_server.py.
"""

import sys

import grpc
import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc


class Client:
    """Asks for a model's answers.

    Args:
        address: host and port.
        name: of the model.
    """

    def __init__(self, address, name):
        self.stub = prediction_service_pb2_grpc.PredictionServiceStub(
            grpc.insecure_channel(address)
        )
        self.name = name

    def ask(self, signature, **inputs):
        """Calls a signature with arrays; returns a dict of arrays.

        Raises:
            grpc.RpcError: if the server refuses the request.
        """
        request = predict_pb2.PredictRequest()
        request.model_spec.name = self.name
        request.model_spec.signature_name = signature
        for key, x in inputs.items():
            request.inputs[key].CopyFrom(tf.make_tensor_proto(x))
        answer = self.stub.Predict(request, timeout=60)
        return {key: tf.make_ndarray(x) for key, x in answer.outputs.items()}


def main(address, name):
    client = Client(address, name)
    answer = client.ask(
        "reply",
        document=["Good morrow, cousin.\nIs the day so young?"],
        seed=np.array([7], "int32"),
        temperature=np.array([0.8], "float32"),
        top_p=np.array([0.9], "float32"),
    )
    print("reply:", answer["reply"][0].decode())
    scores = client.ask(
        "score",
        document=["Good morrow, cousin.", "Colourless green ideas."],
        seed=np.zeros(2, "int32"),
    )
    print("ELBO, nats:", scores["elbo"])


if __name__ == "__main__":
    main(*sys.argv[1:])
