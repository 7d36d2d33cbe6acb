"""The page of `keras-hvae explore`."""

import os
import threading
from typing import Any

from keras_hvae.explore import texts
from keras_hvae.explore.explorer import STEPS, Explorer
from keras_hvae.explore.limits import Limits
from keras_hvae.models.document_model import DocumentModel

HOST = "127.0.0.1"
FIRST = "Good morrow, cousin.\nIs the day so young?\nBut new struck nine."
SECOND = "What says my lord?\nNothing.\nSpeak, I charge thee."
# Told apart by the colour-blind, too.
COLOURS = {"prior": "#bbbbbb", "A": "#0072b2", "B": "#d55e00"}
COLOUR_NAMES = {"A": "blue", "B": "orange"}
TOAST_SECONDS = 5


def explore(
    model: DocumentModel,
    port: int = 7860,
    open_browser: bool = True,
    wait: bool = True,
    name: str | None = None,
) -> tuple[Any, str]:
    """Opens a page on this machine to walk through a model's latent space.

    A person types two documents and slides between them, sees the KL of each
    sentence and where sentences lie in the latent space, moves or redraws one
    sentence's latent, and goes on with a scene. The page is on 127.0.0.1: no
    other machine sees it. It takes no files, and requests of 1 MiB at most.

    Args:
        model: a model with a chain of latents, such as `HVAE`, and a
            vocabulary of words.
        port: int; 0 takes a free one.
        open_browser: whether to open it in the browser.
        wait: whether to return only when it is interrupted.
        name: what the page calls the model; that of its preset if not given,
            or else its own.

    Returns:
        The running page (`gradio.Blocks`, `close()` ends it) and its address.

    Raises:
        ImportError: without Gradio (`pip install "keras-hvae[explore]"`).
        ValueError: for a model without words or a chain of latents.
        OSError: if the port is taken.
    """
    # Set before the import: Gradio sends no statistics.
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    try:
        import gradio as gr
        from starlette.middleware import Middleware
    except ImportError as error:
        raise ImportError(
            "The page needs Gradio: pip install "
            f'"keras-hvae[explore]". Received: {error}'
        ) from error
    if name is None:
        name = model.preset["name"] if model.preset else model.name
    page = _page(gr, Explorer(model), name)
    _, address, _ = page.launch(
        server_name=HOST,
        server_port=port or _free_port(),
        inbrowser=open_browser,
        prevent_thread_lock=True,
        share=False,
        quiet=True,
        footer_links=[],
        app_kwargs={"middleware": [Middleware(Limits)]},
        max_file_size=1,
        # Local fonts: the default ones would be downloaded.
        theme=gr.themes.Default(font="sans-serif", font_mono="monospace"),
    )
    print(f"Exploring at {address} (Ctrl-C ends it)", flush=True)
    if wait:
        page.block_thread()
    return page, address


def _free_port():
    import socket

    with socket.socket() as taken:
        taken.bind((HOST, 0))
        return taken.getsockname()[1]


def _page(gr, explorer, name):
    import pandas as pd

    lock = threading.Lock()

    def told(function):
        """One at a time; what was wrong is shown instead of a traceback."""

        def call(*args):
            try:
                if any(x is None for x in args):
                    raise ValueError(
                        "Every field needs a value. Received: none"
                    )
                with lock:
                    return function(*args)
            except ValueError as error:
                raise gr.Error(
                    str(error), TOAST_SECONDS, print_exception=False
                ) from error

        return call

    def lines(sentences):
        return "\n".join(sentences)

    def bars(*documents):
        every = [explorer.kl(document) for document in documents]
        # All bars start at 0 and share one scale.
        most = 1.1 * max(kl for rows in every for _, kl in rows)
        return [
            gr.BarPlot(
                pd.DataFrame(
                    [(str(i + 1), kl, x, of) for i, (x, kl) in enumerate(rows)],
                    columns=["number", "KL", "sentence", "of"],
                ),
                y_lim=[0, most],
            )
            for of, rows in zip("AB", every)
        ]

    def marked(document):
        return [
            (f"{word} ", None if known else "unknown")
            for word, known in explorer.mark_unknown(document)
        ]

    @told
    def between(a, b, weight):
        return lines(explorer.between(a, b, weight))

    @told
    def look(a, b):
        points = explorer.map(A=a, B=b)
        points = pd.DataFrame(points, columns=["x", "y", "of", "sentence"])
        return marked(a), marked(b), *bars(a, b), points

    @told
    def edit(document, position, dimension, shift, seed):
        count = len(explorer.sentences(document))
        if not 1 <= position <= count:
            raise ValueError(
                f"The document has sentences 1 to {count}. Received: {position}"
            )
        draw = int(seed) if seed else None
        return tuple(
            lines(x)
            for x in explorer.edit(
                document, int(position) - 1, int(dimension) - 1, shift, draw
            )
        )

    @told
    def go_on(document, count, temperature, seed):
        written = explorer.go_on(document, count, temperature, seed)
        return lines([document.rstrip(), *written]).lstrip()

    model = explorer.model
    size = model.latent_dim
    with gr.Blocks(
        title=f"{name}: keras_hvae", analytics_enabled=False
    ) as page:
        gr.Markdown(
            f"## {name}\n{type(model).__name__}, "
            f"{model.vocabulary_size:,} words, {size} latent dimensions, "
            f"{model.count_params():,} parameters.\n\n"
            + texts.LATENT.format(size=size)
        )
        with gr.Tab("Between two documents"):
            gr.Markdown(texts.BETWEEN)
            boxes, marks = [], []
            with gr.Row():
                for of, example in (("A", FIRST), ("B", SECOND)):
                    with gr.Column():
                        boxes.append(
                            gr.Textbox(
                                example,
                                label=f"{of} ({COLOUR_NAMES[of]} below)",
                                lines=4,
                                elem_id=of.lower(),
                            )
                        )
                        marks.append(
                            gr.HighlightedText(
                                label=f"{of} as it is read; marked: "
                                + texts.UNKNOWN,
                                color_map={"unknown": "#8a6d00"},
                                elem_id=f"read_{of.lower()}",
                            )
                        )
            a, b = boxes
            weight = gr.Slider(
                0,
                1,
                0.5,
                step=1 / (STEPS - 1),
                label="place on the line: 0 is A, 1 is B",
                elem_id="weight",
            )
            middle = gr.Textbox(
                label="the document there", lines=4, elem_id="middle"
            )
            with gr.Row():
                charts = [
                    gr.BarPlot(
                        x="number",
                        y="KL",
                        color="of",
                        color_map=COLOURS,
                        colors_in_legend=[],
                        title=f"KL of the sentences of {of}",
                        x_title=f"number of the sentence in {of}",
                        y_title="KL, nats",
                        tooltip=["sentence", "KL"],
                        sort=None,
                        height=260,
                        elem_id=f"kl_{of.lower()}",
                    )
                    for of in "AB"
                ]
                points = gr.ScatterPlot(
                    x="x",
                    y="y",
                    color="of",
                    color_map=COLOURS,
                    color_title="sentence of",
                    tooltip=["of", "sentence"],
                    title="latents of the sentences",
                    x_title="first component",
                    y_title="second component",
                    height=260,
                    elem_id="map",
                )
            with gr.Row():
                gr.Markdown(texts.KL)
                gr.Markdown(texts.MAP)
            shown = [*marks, *charts, points]
            for source in (weight.change, a.change, b.change, page.load):
                source(between, [a, b, weight], middle, show_progress="hidden")
            for source in (a.blur, b.blur, page.load):
                source(look, [a, b], shown)
        with gr.Tab("One sentence's latent"):
            gr.Markdown(texts.EDIT)
            document = gr.Textbox(FIRST, label="document", lines=4)
            with gr.Row():
                position = gr.Number(
                    1,
                    label="sentence",
                    info=texts.SENTENCE,
                    minimum=1,
                    precision=0,
                )
                dimension = gr.Slider(
                    1,
                    size,
                    1,
                    step=1,
                    label="dimension",
                    info=texts.DIMENSION,
                )
                shift = gr.Slider(
                    -4,
                    4,
                    0,
                    step=0.25,
                    label="shift",
                    info=texts.SHIFT,
                    elem_id="shift",
                )
                seed = gr.Number(
                    0,
                    label="redraw",
                    info=texts.REDRAW,
                    minimum=0,
                    precision=0,
                )
            redraw = gr.Button("Redraw it", elem_id="redraw")
            with gr.Row():
                was = gr.Textbox(label="as it was", lines=5, elem_id="was")
                now = gr.Textbox(label="as it is then", lines=5, elem_id="now")
            given = [document, position, dimension, shift, seed]
            for control in given:
                control.change(edit, given, [was, now], show_progress="hidden")
            page.load(edit, given, [was, now])
            redraw.click(lambda x: int(x or 0) + 1, seed, seed)
        with gr.Tab("Go on"):
            gr.Markdown(texts.GO_ON)
            scene = gr.Textbox(FIRST, label="scene", lines=8, elem_id="scene")
            with gr.Row():
                count = gr.Slider(1, 10, 2, step=1, label="sentences")
                heat = gr.Slider(
                    0.1,
                    2,
                    0.8,
                    step=0.1,
                    label="temperature",
                    info=texts.TEMPERATURE,
                )
                start = gr.Number(
                    0, label="seed", info=texts.SEED, minimum=0, precision=0
                )
            write = gr.Button("Write on", variant="primary", elem_id="write")
            write.click(go_on, [scene, count, heat, start], scene).then(
                lambda x: int(x or 0) + 1, start, start
            )
    return page
