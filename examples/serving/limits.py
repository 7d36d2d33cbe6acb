"""What a server on the web takes from anyone, at most.

KServe and its server uvicorn have no limit of a request's size, and wait for
the rest of a request for ever.
"""

import json
import logging

from kserve.errors import (
    InvalidInput,
    ModelNotFound,
    ModelNotReady,
    UnsupportedProtocol,
)
from uvicorn.protocols.http.auto import AutoHTTPProtocol

LARGEST_BODY = 2**22  # bytes
REQUEST_SECONDS = 30
LARGEST_LINE = 300  # characters
# What a client has done wrong; a server's own faults keep their traceback.
CLIENT_ERRORS = (
    InvalidInput,
    ModelNotFound,
    ModelNotReady,
    UnsupportedProtocol,
)


class LimitedBody:
    """An ASGI middleware: answers 413 to a body of too many bytes."""

    def __init__(self, app, largest=LARGEST_BODY):
        self.app, self.largest = app, largest

    async def __call__(self, scope, receive, send):
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        size = dict(scope["headers"]).get(b"content-length", b"0")
        if not size.isdigit() or int(size) > self.largest:
            return await self.refuse(send)
        # Read here: an application may turn an error of `receive` into
        # another answer.
        messages, size = [], 0
        while True:
            message = await receive()
            messages.append(message)
            size += len(message.get("body", b""))
            if size > self.largest:
                return await self.refuse(send)
            if not message.get("more_body"):
                break
        messages.reverse()

        async def again():
            return messages.pop() if messages else await receive()

        return await self.app(scope, again, send)

    async def refuse(self, send):
        text = f"A request has at most {self.largest} bytes."
        body = json.dumps({"error": text}).encode()
        headers = [
            (b"content-type", b"application/json"),
            (b"connection", b"close"),
        ]
        await send(
            {"type": "http.response.start", "status": 413, "headers": headers}
        )
        await send({"type": "http.response.body", "body": body})


class LimitedProtocol(AutoHTTPProtocol):
    """uvicorn's HTTP, with a time in which a request must have arrived."""

    seconds = REQUEST_SECONDS
    _timer = None

    def connection_made(self, transport):
        super().connection_made(transport)
        self._start()

    def data_received(self, data):
        if self._timer is None:
            self._start()
        super().data_received(data)
        if self.cycle is not None and not self.cycle.more_body:
            self._stop()

    def connection_lost(self, exc):
        self._stop()
        super().connection_lost(exc)

    def _start(self):
        self._timer = self.loop.call_later(self.seconds, self.transport.abort)

    def _stop(self):
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class ShortLines(logging.Filter):
    """One short line for what a client has done wrong, no traceback."""

    def filter(self, record):
        error = record.exc_info and record.exc_info[1]
        if isinstance(error, CLIENT_ERRORS):
            # Escaped: a request must not write lines of its own.
            text = ascii(str(error))[:LARGEST_LINE]
            record.msg, record.args = f"{type(error).__name__}: {text}", ()
            record.exc_info = record.exc_text = None
            record.levelno, record.levelname = logging.WARNING, "WARNING"
        return True
