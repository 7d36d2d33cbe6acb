"""Asks a model server by REST, with the standard library only.

    python rest_client.py http://localhost:8501/v1/models/my_model

The server may be TensorFlow Serving or rest_server.py.
"""

import json
import sys
import urllib.error
import urllib.request


def ask(url, request):
    """Sends a request to `url`:predict; returns the answer.

    Raises:
        ValueError: with the server's sentence, if it refuses the request.
    """
    request = urllib.request.Request(
        f"{url}:predict",
        json.dumps(request).encode(),
        {"Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        raise ValueError(json.load(error)["error"]) from error


def main(url):
    draw = {"seed": 7, "temperature": 0.8, "top_p": 0.9}
    conversation = ["Good morrow, cousin.", "Is the day so young?"]
    answer = ask(
        url, {"instances": [{"document": "\n".join(conversation), **draw}]}
    )
    first = answer["predictions"][0]
    print("reply:", first["reply"])

    # Going on: what was read is in z, context and state, not read again.
    state = {key: first[key] for key in ("z", "context", "state")}
    news = first["reply"] + "\nBut new struck nine."
    answer = ask(
        url,
        {
            "signature_name": "reply_state",
            # Another seed, or the draws would be the same again.
            "instances": [{"document": news, **state, **draw, "seed": 8}],
        },
    )
    print("reply:", answer["predictions"][0]["reply"])

    # One input: by column, and without its name.
    answer = ask(
        url,
        {"signature_name": "encode", "inputs": ["\n".join(conversation)]},
    )
    print("latent of the document:", answer["outputs"]["document"][0][:4], "…")


if __name__ == "__main__":
    main(sys.argv[1])
