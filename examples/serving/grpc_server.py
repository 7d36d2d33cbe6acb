"""TensorFlow Serving's gRPC PredictionService.

    pip install tensorflow-serving-api
    python grpc_server.py saved_models/my_model --name my_model --port 8500

Answers Predict and GetModelMetadata as TensorFlow Serving does, on this
machine: see grpc_client.py.
"""

import argparse
import concurrent.futures
import math

import grpc
import tensorflow as tf
from served_model import BadRequest, ServedModel, brief
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    predict_pb2,
    prediction_service_pb2_grpc,
)

THREADS = 16
MOST_VALUES = 100_000


class PredictionService(prediction_service_pb2_grpc.PredictionServiceServicer):
    """Answers for one model.

    Args:
        name: of the model.
        served: a `ServedModel`.
    """

    def __init__(self, name, served):
        self.name, self.served = name, served

    def Predict(self, request, context):
        current = self.served.current
        self._check_model(request.model_spec, current, context)
        try:
            inputs = {
                key: self._array(key, x) for key, x in request.inputs.items()
            }
            answer, version = self.served.predict(
                request.model_spec.signature_name, inputs, current
            )
            wanted = list(request.output_filter) or list(answer)
            for key in set(wanted) - set(answer):
                raise BadRequest(
                    f"output_filter must be of {', '.join(answer)}. "
                    f"Received: {brief(key)}"
                )
        except BadRequest as error:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        response = predict_pb2.PredictResponse()
        response.model_spec.CopyFrom(request.model_spec)
        response.model_spec.version.value = version
        for key in wanted:
            response.outputs[key].CopyFrom(tf.make_tensor_proto(answer[key]))
        return response

    def GetModelMetadata(self, request, context):
        version, signatures = current = self.served.current
        self._check_model(request.model_spec, current, context)
        response = get_model_metadata_pb2.GetModelMetadataResponse()
        response.model_spec.name = self.name
        response.model_spec.version.value = version
        table = get_model_metadata_pb2.SignatureDefMap()
        for name, function in signatures.items():
            signature = table.signature_def[name]
            for side, specs in (
                (signature.inputs, function.structured_input_signature[1]),
                (signature.outputs, function.structured_outputs),
            ):
                for key, spec in specs.items():
                    side[key].dtype = spec.dtype.as_datatype_enum
                    side[key].tensor_shape.CopyFrom(spec.shape.as_proto())
        response.metadata["signature_def"].Pack(table)
        return response

    def _check_model(self, spec, current, context):
        if spec.name != self.name:
            context.abort(
                grpc.StatusCode.NOT_FOUND,
                f"model_spec.name must be {self.name}. "
                f"Received: {brief(spec.name)}",
            )
        if spec.version_label:
            context.abort(
                grpc.StatusCode.NOT_FOUND,
                "model_spec.version_label must be empty: versions have numbers "
                f"only. Received: {brief(spec.version_label)}",
            )
        wanted, version = spec.version.value, current[0]
        if wanted and wanted != version:
            context.abort(
                grpc.StatusCode.NOT_FOUND,
                f"model_spec.version must be {version}. Received: {wanted}",
            )

    def _array(self, key, proto):
        sizes = [dim.size for dim in proto.tensor_shape.dim]
        # One value may stand for any number of them in a TensorProto.
        if min(sizes, default=0) < 0 or math.prod(sizes) > MOST_VALUES:
            raise BadRequest(
                f"{key} must have a shape of at most {MOST_VALUES} values. "
                f"Received: {brief(sizes)}"
            )
        if proto.string_val and len(proto.string_val) != math.prod(sizes):
            raise BadRequest(
                f"{key} must have a string for each entry of its shape "
                f"{sizes}. Received: {len(proto.string_val)}"
            )
        try:
            return tf.make_ndarray(proto)
        except Exception as error:  # of a broken message: nearly any
            raise BadRequest(
                f"{key} must be a whole TensorProto. Received: {error}"
            ) from error


def serve(path, name, port):
    """Starts a server on 127.0.0.1; returns it and its port."""
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(THREADS))
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(
        PredictionService(name, ServedModel(path)), server
    )
    port = server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    return server, port


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("path", help="folder of the model's versions")
    parser.add_argument("--name", default="my_model")
    parser.add_argument("--port", type=int, default=8500)
    args = parser.parse_args()
    server, port = serve(args.path, args.name, args.port)
    print(f"127.0.0.1:{port}", flush=True)
    server.wait_for_termination()
