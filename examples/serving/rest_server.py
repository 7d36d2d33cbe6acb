"""The `:predict` of TensorFlow Serving's REST interface, by KServe's server.

    pip install kserve tensorflow
    python rest_server.py saved_models/my_model --name my_model --http_port 8501

Answers POST /v1/models/my_model:predict with `instances` (a row each) or
`inputs` (a column each), and an optional `signature_name`, as TensorFlow
Serving does: see rest_client.py.
"""

import asyncio
import json
import logging

import kserve
import kserve.model_server
from kserve.errors import InvalidInput
from kserve.protocol.rest.server import RESTServer
from limits import (
    LARGEST_BODY,
    REQUEST_SECONDS,
    LimitedBody,
    LimitedProtocol,
    ShortLines,
)
from served_model import BadRequest, ServedModel, brief


class RestModel(kserve.Model):
    """A `ServedModel` that takes and gives JSON."""

    def __init__(self, name, path):
        super().__init__(name)
        self.served = ServedModel(path)
        self.ready = True

    async def explain(self, payload, headers=None):
        raise InvalidInput("The model has :predict only. Received: :explain")

    async def predict(self, payload, headers=None, response_headers=None):
        try:
            # TensorFlow's work in a thread: others are answered meanwhile.
            return await asyncio.to_thread(self.answer, payload)
        except BadRequest as error:
            raise InvalidInput(str(error)) from error

    def answer(self, payload):
        """The answer to a request's JSON."""
        if isinstance(payload, bytes | str):  # of another content type
            try:
                payload = json.loads(payload)
            except (ValueError, RecursionError) as error:
                raise BadRequest(
                    f"A request must be JSON. Received: {brief(payload)}"
                ) from error
        if not isinstance(payload, dict):
            raise BadRequest(
                "A request must be a JSON object with instances or inputs. "
                f"Received: {brief(payload)}"
            )
        unknown = payload.keys() - {"signature_name", "instances", "inputs"}
        if unknown or ("instances" in payload) == ("inputs" in payload):
            raise BadRequest(
                "A request must have either instances or inputs, and may have "
                f"signature_name. Received: {brief(sorted(payload))}"
            )
        name = payload.get("signature_name")
        # The same version for all that is asked of it.
        current = self.served.current
        if "inputs" in payload:
            inputs = self.named(current, name, payload["inputs"])
            columns, _ = self.served.predict(name, inputs, current)
            return {"outputs": {key: plain(x) for key, x in columns.items()}}
        rows = payload["instances"]
        if not isinstance(rows, list) or not rows:
            raise BadRequest(
                "instances must be a list with a row for each answer. "
                f"Received: {brief(rows)}"
            )
        rows = [self.named(current, name, row) for row in rows]
        columns, _ = self.served.predict(name, self.columns(rows), current)
        values = {key: plain(x) for key, x in columns.items()}
        return {
            "predictions": [
                dict(zip(values, row)) for row in zip(*values.values())
            ]
        }

    def named(self, current, name, value):
        """Of a signature with one input the name may be left out."""
        if isinstance(value, dict) and list(value) != ["b64"]:
            return value
        names = self.names(current, name)
        return {names[0]: value} if len(names) == 1 else value

    def columns(self, rows):
        first = rows[0]
        for row in rows:
            if not isinstance(row, dict) or row.keys() != first.keys():
                raise BadRequest(
                    "Every one of the instances must have the same inputs, "
                    f"by name. Received: {brief(row)}"
                )
        return {key: [row[key] for row in rows] for key in first}

    def names(self, current, name):
        _, signatures = current
        function = isinstance(name, str | None) and signatures.get(
            name or "serving_default"
        )
        if not function:
            return []  # which `predict` will tell
        return list(function.structured_input_signature[1])


class OneModel(kserve.ModelRepository):
    """Keeps its model: KServe's interface lets anyone unload one."""

    def unload(self, name):
        raise InvalidInput(f"The model stays. Received: unload {brief(name)}")


class LimitedServer(RESTServer):
    """KServe's server for requests of anyone: small ones, and in time."""

    largest_body = LARGEST_BODY

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.config.http = LimitedProtocol

    def _add_middlewares(self, app):
        super()._add_middlewares(app)
        app.add_middleware(LimitedBody, largest=self.largest_body)


def plain(array):
    """Numbers, truth values and strings for JSON."""
    if array.dtype == object:
        return [x.decode() if isinstance(x, bytes) else plain(x) for x in array]
    return array.tolist()


if __name__ == "__main__":
    import argparse

    parser = argparse.ArgumentParser(parents=[kserve.model_server.parser])
    parser.add_argument("path", help="folder of the model's versions")
    parser.add_argument("--name", default="my_model")
    parser.add_argument(
        "--largest_body",
        type=int,
        default=LARGEST_BODY,
        help="most bytes of a request (default: %(default)s)",
    )
    parser.add_argument(
        "--request_seconds",
        type=float,
        default=REQUEST_SECONDS,
        help="in which a request must arrive (default: %(default)s)",
    )
    args = parser.parse_args()
    LimitedServer.largest_body = args.largest_body
    LimitedProtocol.seconds = args.request_seconds
    # KServe has no other way to give it a server.
    kserve.model_server.RESTServer = LimitedServer
    logging.getLogger("kserve").addFilter(ShortLines())
    server = kserve.ModelServer(
        http_port=args.http_port,
        registered_models=OneModel(),
        enable_grpc=False,
        enable_latency_logging=False,
    )
    server.start([RestModel(args.name, args.path)])
