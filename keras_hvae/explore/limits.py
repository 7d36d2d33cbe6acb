"""What the page takes from a browser, at most."""

import json
from collections.abc import Awaitable, Callable

# Of a request: texts that a person types, and numbers.
LARGEST_BODY = 2**20  # bytes


class Limits:
    """An ASGI middleware: no uploads, no bodies without end.

    Gradio has an endpoint for files, which writes whatever is sent to the
    disk; nothing on the page uses it.

    Args:
        app: the ASGI application behind it.
        largest: number of bytes of a request's body.
    """

    def __init__(self, app: Callable, largest: int = LARGEST_BODY) -> None:
        self.app, self.largest = app, largest

    async def __call__(
        self, scope: dict, receive: Callable, send: Callable
    ) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        if scope["path"].rstrip("/").endswith("/upload"):
            return await _refuse(send, 404, "This page takes no files.")
        size = dict(scope["headers"]).get(b"content-length", b"0")
        if not size.isdigit() or int(size) > self.largest:
            return await self._refuse_body(send)
        # Read here: Gradio would turn an error of `receive` into another.
        messages: list[dict] = []
        read = 0
        while True:
            message = await receive()
            messages.append(message)
            read += len(message.get("body", b""))
            if read > self.largest:
                return await self._refuse_body(send)
            if not message.get("more_body"):
                break
        messages.reverse()

        async def again() -> dict:
            return messages.pop() if messages else await receive()

        return await self.app(scope, again, send)

    def _refuse_body(self, send: Callable) -> Awaitable[None]:
        text = f"A request has at most {self.largest:,} bytes."
        return _refuse(send, 413, text)


async def _refuse(send, status, text):
    headers = [
        (b"content-type", b"application/json"),
        (b"connection", b"close"),
    ]
    body = json.dumps({"error": text}).encode()
    await send(
        {"type": "http.response.start", "status": status, "headers": headers}
    )
    await send({"type": "http.response.body", "body": body})
