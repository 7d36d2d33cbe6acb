"""`keras-hvae train` and `keras-hvae demo`."""

import contextlib
import inspect
import pathlib
import tempfile
import time

from keras_hvae.arguments import check_positive_int
from keras_hvae.files import write_json, write_whole

MODEL_FILE = "model.keras"
LEARNING_RATE = 0.005
LOWEST_RATE = 0.02  # of it, at the end
GRADIENT_NORM = 5.0
ANNEALING = 0.4  # of the steps
MODELS = ("hvae", "flat_vae", "gru_lm", "hred", "vhred", "vhcr")
SENTENCE_DROPOUT = ("hred", "vhred", "vhcr")
# Of HVAE; the other models' own differ.
MODEL_DEFAULTS = {
    "latent_dim": 32,
    "embedding_dim": 128,
    "hidden_dim": 192,
    "decoder_dim": 384,
    "transition": "rnn",
    "prior": "shared",
    "initial_prior": "standard",
    "dropout": 0.3,
    "word_dropout": 0.0,
    "free_bits": 4.0,
    "free_bits_mode": "dimension",
    "bow_weight": 0.0,
    "mean_norm": 0.0,
    "softmax": "full",
    "tie_embeddings": False,
}


def train(args):
    """Trains a model on a corpus; writes model, settings, log, picture."""
    import keras

    import keras_hvae

    check_positive_int(epochs=args.epochs)
    if args.steps is not None:
        check_positive_int(steps=args.steps)
    if not args.learning_rate > 0:
        raise ValueError(
            f"`learning_rate` must be > 0. Received: {args.learning_rate}"
        )
    out = _open_folder(args.out, args.force)
    try:
        keras.utils.set_random_seed(args.seed)
        # Splits and order are the same whatever the seed of the weights.
        corpus = keras_hvae.data.load(
            args.corpus,
            batch_size=args.batch_size,
            key=args.key,
            vocabulary_size=args.vocabulary_size,
            min_count=args.min_count,
            tokenizer=args.tokenizer,
            max_sentences=args.max_sentences,
            max_words=args.max_words,
            lowercase=not args.cased,
            seed=args.split_seed,
        )
        print(corpus.report, flush=True)
        model = _make_model(args, corpus.vocabulary)
    except BaseException:
        with contextlib.suppress(OSError):
            out.rmdir()  # if it is empty
        raise
    steps = args.epochs * len(corpus.train)
    if args.steps is not None:
        steps = min(steps, args.steps)
    rate = keras.optimizers.schedules.CosineDecay(
        args.learning_rate, steps, LOWEST_RATE
    )
    model.compile(keras.optimizers.Adam(rate, global_clipnorm=GRADIENT_NORM))
    if args.annealing_steps is None:
        args.annealing_steps = max(round(ANNEALING * steps), 1)
    history, seconds = _fit(model, corpus, args, out)
    # What the file holds is what is measured: the best epoch's weights.
    model = keras.saving.load_model(out / MODEL_FILE)
    if model.latent_dim and args.initial_prior == "empirical":
        model.fit_initial_prior(corpus.train)
        with write_whole(out / MODEL_FILE) as temporary:
            model.save(temporary)
    split = "test" if corpus.test is not None else "train"
    print(f"Evaluating on the {split} split.", flush=True)
    figures = keras_hvae.evaluation.evaluate(model, getattr(corpus, split))
    write_json(
        out / "metrics.json",
        {
            "split": split,
            **figures,
            "corpus": corpus.report.splits,
            "history": history,
            "training_seconds": round(seconds, 1),
        },
    )
    keras_hvae.evaluation.plot_report(out / "report.png", history, figures)
    print(keras_hvae.evaluation.summary(figures))
    print(f"Model, settings, log and picture: {out}/")
    return model, corpus


def _make_model(args, vocabulary):
    """The model of that name, with the options that were given."""
    from keras_hvae import models

    classes = (
        models.HVAE,
        models.FlatVAE,
        models.GRULM,
        models.HRED,
        models.VHRED,
        models.VHCR,
    )
    cls = dict(zip(MODELS, classes))[args.model]
    given = {name: getattr(args, name) for name in MODEL_DEFAULTS}
    given["mean_norm"] = given["mean_norm"] or None  # 0 is none
    given["sentence_dropout"] = args.sentence_dropout
    given = {name: x for name, x in given.items() if x is not None}
    known = set()
    for base in cls.__mro__[: cls.__mro__.index(models.DocumentModel) + 1]:
        known |= set(inspect.signature(base.__init__).parameters)
    for name in given:
        if name not in known:
            raise ValueError(
                f"`--{name.replace('_', '-')}` is not an option of the model "
                f"{args.model}. Received: {given[name]}"
            )
    return cls(vocabulary, seed=args.seed, **given)


def demo(args):
    """Trains on the embedded corpus and shows what the model can do."""
    from keras_hvae.cli.parser import build_parser

    options = ["train", "shakespeare_scenes", "--out", args.out, *DEMO]
    options += ["--seed", str(args.seed)]
    if args.steps is not None:
        options += ["--steps", str(args.steps)]
    settings = build_parser().parse_args(options)
    settings.force, settings.debug = args.force, args.debug
    model, corpus = train(settings)

    def show(title, sentences):
        print(f"\n{title}", *(f"  {s}" for s in sentences), sep="\n")

    options = {"sampler": "top_p", "temperature": 0.8, "seed": args.seed}
    a, b = (x[:4] for x in corpus.documents("test", limit=2))
    for document in model.generate(num_documents=2, num_sentences=4, **options):
        show("A scene from the prior:", document)
    show("Speeches of the test split:", a)
    show("... reconstructed:", model.reconstruct(a))
    show("... continued:", model.generate(a, num_sentences=2, **options))
    path = model.interpolate(a, b, steps=5)
    show(
        "The first speech, on the way to another scene's:", [x[0] for x in path]
    )


DEMO = [
    "--vocabulary-size", "4000", "--batch-size", "16",
    "--epochs", "4", "--steps", "600",
]  # fmt: skip


def _fit(model, corpus, args, out):
    """Trains; keeps the best model, with its settings and vocabulary."""
    import keras

    from keras_hvae.callbacks import (
        AutoencoderPretraining,
        BestModel,
        KLAnnealing,
        LatentDiagnostics,
    )

    # Not the training loss, in which the KL's weight grows.
    monitor = "perplexity" if corpus.valid is None else "val_loss"
    best = BestModel(out / MODEL_FILE, monitor=monitor)
    callbacks = [keras.callbacks.TerminateOnNaN(), best]
    if model.latent_dim:
        annealing = args.annealing_steps
        if args.pretraining_steps:
            callbacks.append(
                AutoencoderPretraining(args.pretraining_steps, annealing)
            )
        elif args.kl_annealing != "none":
            callbacks.append(KLAnnealing(annealing, args.kl_annealing))
        if corpus.valid is not None:
            callbacks.append(LatentDiagnostics(corpus.valid))
    callbacks.append(keras.callbacks.CSVLogger(out / "log.csv"))
    if args.steps is not None:
        callbacks.append(_stop_after(model, args.steps))
    _write_settings(model, args, out)
    start = time.perf_counter()
    try:
        history = model.fit(
            corpus.train,
            validation_data=corpus.valid,
            epochs=args.epochs,
            callbacks=callbacks,
            shuffle=False,  # the corpus has its own order
        )
    except KeyboardInterrupt:
        if best.best == float("inf"):  # within the first epoch
            with write_whole(out / MODEL_FILE) as temporary:
                model.save(temporary)
        print(f"\nThe last good model: {out / MODEL_FILE}", flush=True)
        raise
    if best.best == float("inf"):
        raise ValueError(
            f"The training diverged: {monitor} was never a number. Try a "
            f"lower `--learning-rate`. Received: {args.learning_rate}"
        )
    history = {
        name: [float(x) for x in values]
        for name, values in history.history.items()
    }
    return history, time.perf_counter() - start


def _write_settings(model, args, out):
    # With `--force`: an old model must not stand beside new settings.
    (out / MODEL_FILE).unlink(missing_ok=True)
    settings = {k: v for k, v in vars(args).items() if k != "run"}
    settings["parameters"] = model.count_params()
    if pathlib.Path(args.corpus).exists():
        settings["corpus"] = str(pathlib.Path(args.corpus).resolve())
    write_json(out / "settings.json", settings)
    with write_whole(out / "vocabulary.txt") as temporary:
        words = "\n".join(model.preprocessor) + "\n"
        temporary.write_text(words, "utf-8")


def _stop_after(model, steps):
    import keras

    count = iter(range(1, steps))

    def stop(batch, logs=None):
        if next(count, None) is None:
            model.stop_training = True

    return keras.callbacks.LambdaCallback(on_train_batch_end=stop)


def _open_folder(path, force):
    """Makes the folder, or says before any work why it cannot be used."""
    out = pathlib.Path(path)
    if (out / MODEL_FILE).exists() and not force:
        raise ValueError(
            f"{out / MODEL_FILE} exists: name another folder with `--out`, or "
            "replace it with `--force`."
        )
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=out):
        pass
    return out
