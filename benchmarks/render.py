"""Writes RESULTS.md and its picture from the rows of `table.py`."""

import json
import math
import os
import pathlib

import numpy as np

from keras_hvae.evaluation import paired_bootstrap

HERE = pathlib.Path(__file__).parent
SPLITS = {"valid": "validation", "test": "test"}
TITLES = {
    "ptb": "Penn Treebank, sentence by sentence",
    "dailydialog": "DailyDialog",
    "cornell": "Cornell movie dialogues (80 %)",
    "shakespeare": "Shakespeare's plays (shipped with the package)",
    "chitchat": "Chitchat",
    "movie_reviews": "Movie reviews, as documents",
}
NOTES = {
    "ptb": "Standard split, text split at spaces, vocabulary of 10,000 with "
    "`<unk>` and `[EOS]`; test: 3,761 sentences, 82,430 tokens. "
    "A document is a sentence: about 0.45 M of the VAEs' parameters, those "
    "that go from one sentence to the next, do nothing here.",
    "dailydialog": "Standard split (109 of its 1,000 test dialogues also "
    "occur in train), first 10 turns, 30 tokens a turn with `[EOS]`, "
    "10,000 ids.",
    "cornell": "80 % of the corpus under VHCR's split rule: 6,650 test "
    "dialogues; not the published test set. First 10 turns, 30 tokens a turn "
    "with `[EOS]`, 10,000 ids.",
    "shakespeare": "Windows of 10 speeches, 30 tokens, 10,000 ids.",
    "chitchat": "First 10 turns, 30 tokens, 10,000 ids.",
    "movie_reviews": "Windows of 10 sentences, 30 tokens, 10,000 ids; fold 9 "
    "of 10 is the test split.",
}
PUBLISHED = {
    "ptb": (
        "| published, far larger budgets | −ELBO a sentence | PPL | KL | MI "
        "| AU |\n|---|---|---|---|---|---|\n"
        "| LSTM-LM (Li et al. 2019, as reprinted by Optimus) | | 100.47 | | | "
        "|\n"
        "| VAE + annealing | 101.28 | 101.40 | 0.00 | | 0 |\n"
        "| aggressive encoder | 101.19 | 99.83 | 0.93 | 0.83 | 4 |\n"
        "| AE pre-training + free bits | 102.41 = 95.87 + 6.54 ✓ | 96.86 "
        "| 6.54 | 5.31 | 32 |\n"
        "| Texar LSTM VAE | 101.92 | 104.61 ✓ | | | |\n"
        "| Sentence-VAE | 111.24 = 103.967 + 7.269 ✓ | | 7.269 | | |\n\n"
        "✓: the sum, or the perplexity of −ELBO over the tokens, is right; the "
        "perplexities of Li et al. are importance-weighted. All are quoted "
        "from memory of the papers."
    ),
    "cornell": (
        "| published, whole corpus, conditional | nats a token |\n|---|---|\n"
        "| HRED | 3.873 |\n"
        "| VHRED | 3.912 = 3.619 + 0.293 ✓ |\n"
        "| VHRED + word drop | 3.904 = 3.553 + 0.351 ✓ |\n"
        "| VHRED + bow | 4.149 = 2.982 + 1.167 ✓ |\n"
        "| VHCR | 4.026 = 2.523 + 1.503 ✓ |\n\n"
        "✓: the sum is right. These are conditional −ELBO, of another test "
        "set and vocabulary: not comparable digit by digit."
    ),
}


def nll(row):
    """NLL of all documents, nats a token: −ELBO less the measured gap."""
    figures = row["figures"]
    return figures["neg_elbo"]["per_token"] - figures["iwae"]["gap"]


def mark(row, scope=""):
    """What a figure is: nothing if exact, ≤ a bound, ~ an estimate."""
    iwae = row["figures"]["iwae"]
    if iwae["exact"]:
        return ""
    if scope and iwae["conditional"]["estimate"] != "bound":
        return "~"
    return "≤"


def conditional(row):
    """Of sentences 2 … n, nats a token, of the documents drawn for IWAE."""
    part = row["figures"]["iwae"]["conditional"]
    if part is None:
        return ""
    return f"{mark(row, 'conditional_')}{part['nll']['per_token']:.3f}"


def conditional_bound(row):
    """−ELBO of sentences 2 … n of all documents, where their terms bound it."""
    part = row["figures"]["conditional"]
    return f"{part['neg_elbo']['per_token']:.3f}" if part else ""


def above(row, reference, scope="", bound="iwae"):
    """By how many % the NLL is above another row's, and a 95 % interval."""
    if reference is None or row is reference or bound not in row["figures"]:
        return ""
    own = row["figures"][bound]["by_document"]
    other = reference["figures"]["iwae"]["by_document"]
    if own["crc32"] != other["crc32"]:
        raise ValueError(
            f"{row['row']} and {reference['row']} of {row['corpus']} must be "
            "evaluated on the same documents. Received: "
            f"{len(own['crc32'])} and {len(other['crc32'])} documents, "
            f"{len(set(own['crc32']) & set(other['crc32']))} of them the same"
        )
    nats = [
        (x, y)
        for x, y, tokens in zip(
            own[f"{scope}nll"], other[f"{scope}nll"], own[f"{scope}tokens"]
        )
        if tokens  # a document of one sentence has none behind it
    ]
    if not nats:
        return ""
    ours, theirs = zip(*nats)
    figures = paired_bootstrap(ours, theirs, theirs)
    value, low, high = (
        100 * figures[key] for key in ("difference", "low", "high")
    )
    return f"{mark(row, scope)}{value:+.1f} % [{low:+.1f}, {high:+.1f}]"


def mean_information(row):
    """MI averaged over the positions; 0 without latents."""
    figures = row["figures"]
    return np.mean(figures.get("mi_full_by_position", 0.0))


def information(row):
    return f"{mean_information(row):.2f} ({row['figures']['mi_full']:.2f})"


def paid(figures):
    """What of the KL is information, and its share."""
    if figures.get("information") is None:
        return ""
    cost = figures["information"] + figures["mismatch"]
    return f"{figures['information']:.2f} ({figures['information'] / cost:.0%})"


def lowest_share(figures):
    """The share of the position where least of the KL is information."""
    pairs = zip(figures["information_by_position"], figures["kl_by_position"])
    shares = [x / kl for x, kl in pairs if x is not None]
    return f"{min(shares):.0%}" if shares else ""


def matched(row):
    """z-ablation with latents of sentences of the same length."""
    nats = row["figures"].get("z_ablation_length_matched")
    return "" if nats is None else f"{nats:.2f}"


def estimate(row):
    """The NLL and the standard error of its gap."""
    iwae = row["figures"]["iwae"]
    if iwae["exact"]:
        return f"{nll(row):.3f}"
    return f"{nll(row):.3f} ± {iwae['gap_standard_error']:.3f}"


COLUMNS = {
    "row": lambda row, rows: row["row"],
    "parameters": lambda row, rows: f"{row['parameters'] / 1e6:.2f} M",
    "tokens seen": lambda row, rows: f"{row['tokens_seen'] / 1e6:.1f} M",
    "best pass": lambda row, rows: f"{row['best_epoch']} of {row['epochs']}",
    "minutes": lambda row, rows: f"{row['minutes']:.0f}",
    "−ELBO / sentence": lambda row, rows: (
        f"{row['figures']['neg_elbo']['per_sentence']:.2f}"
    ),
    "−ELBO / token": lambda row, rows: (
        f"{row['figures']['neg_elbo']['per_token']:.3f}"
    ),
    "NLL / token": lambda row, rows: estimate(row),
    "PPL": lambda row, rows: f"{math.exp(nll(row)):.1f}",
    "above gru_lm": lambda row, rows: above(row, rows.get("gru_lm")),
    "with particles": lambda row, rows: above(
        row, rows.get("gru_lm"), bound="particles"
    ),
    "conditional −ELBO / token": lambda row, rows: conditional_bound(row),
    "conditional NLL / token": lambda row, rows: conditional(row),
    "above hred": lambda row, rows: above(
        row, rows.get("hred"), "conditional_"
    ),
}
OF_LATENTS = {
    "ESS": lambda row: f"{row['figures']['iwae']['ess']:.1f}",
    "KL / sentence": lambda row: f"{row['figures']['kl']['per_sentence']:.2f}",
    "information / sentence": lambda row: paid(row["figures"]),
    "… of training": lambda row: paid(row.get("on_train", {})),
    "… at the worst position": lambda row: (
        lowest_share(row["on_train"]) if "on_train" in row else ""
    ),
    "MI": information,
    "z-ablation": lambda row: f"{row['figures']['z_ablation']:.2f}",
    "of the same length": matched,
}


def table(rows):
    """A line a row; columns that are empty in all are left out."""
    by_name = {row["row"]: row for row in rows}
    columns = {}
    for title, cell in COLUMNS.items():
        columns[title] = [cell(row, by_name) for row in rows]
    for title, cell in OF_LATENTS.items():
        columns[title] = [
            cell(row) if "mi_full" in row["figures"] else "" for row in rows
        ]
    columns = {title: cells for title, cells in columns.items() if any(cells)}
    lines = [columns, ["---"] * len(columns), *zip(*columns.values())]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def seeds(name, rows):
    """Mean and standard deviation of a row's figures over its seeds."""
    likelihoods = [nll(x) for x in rows]
    parts = [("NLL / token", likelihoods, 3), ("PPL", np.exp(likelihoods), 1)]
    if all("mi_full" in x["figures"] for x in rows):
        figures = [x["figures"] for x in rows]
        parts += [
            ("KL / sentence", [x["kl"]["per_sentence"] for x in figures], 2),
            ("MI", [mean_information(x) for x in rows], 2),
            ("z-ablation", [x["z_ablation"] for x in figures], 2),
        ]
    said = []
    for title, values, digits in parts:
        mean, std = np.mean(values), np.std(values, ddof=1)
        said.append(f"{title} {mean:.{digits}f} ({std:.{digits}f})")
    numbers = ", ".join(str(x["seed"]) for x in rows)
    return f"`{name}` with seeds {numbers}, mean (std): {'; '.join(said)}."


def plot(corpora, path):
    """NLL over MI, a panel a corpus."""
    from matplotlib.figure import Figure

    figure, panels = make_panels(Figure, len(corpora))
    for panel, (name, rows) in zip(panels, corpora.items()):
        for row in rows:
            figures = row["figures"]
            x, y = mean_information(row), nll(row)
            if "mi_full" not in figures:
                panel.axhline(y, color="0.7", linewidth=1, zorder=0)
            panel.plot(x, y, "o", label=row["row"].removeprefix("hvae_"))
        panel.legend(fontsize=8)
        panel.set_title(short(name))
        panel.set_xlabel("MI (nats a sentence)")
        panel.margins(x=0.2, y=0.1)
    panels[0].set_ylabel("NLL (nats a token)")
    figure.savefig(path, dpi=110)


def plot_curves(corpora, path):
    """Validation −ELBO over the training, a panel a corpus."""
    from matplotlib.figure import Figure

    figure, panels = make_panels(Figure, len(corpora))
    for panel, (name, rows) in zip(panels, corpora.items()):
        for row in rows:
            history = row["history"]
            bounds = np.add(history["val_nll"], history.get("val_kl", 0.0)) * (
                row["valid_documents"] / row["valid_tokens"]
            )
            tokens = row["tokens_seen"] / row["epochs"] / 1e6
            seen = tokens * np.arange(1, len(bounds) + 1)
            (line,) = panel.plot(seen, bounds, label=row["row"])
            best = row["best_epoch"] - 1
            panel.plot(seen[best], bounds[best], "o", color=line.get_color())
        ends = [min(x.get_ydata()) for x in panel.lines]
        panel.set_ylim(min(ends) - 0.05, max(ends) + 0.4)
        panel.legend(fontsize=8)
        panel.set_title(short(name))
        panel.set_xlabel("tokens seen, millions")
    panels[0].set_ylabel("validation −ELBO (nats a token)")
    figure.savefig(path, dpi=110)


def make_panels(Figure, count):
    """A figure, and its panels, of which three stand side by side."""
    across = min(count, 3)
    down = -(-count // across)
    figure = Figure(figsize=(4.2 * across, 3.6 * down), layout="constrained")
    panels = figure.subplots(down, across, squeeze=False).flat
    for panel in panels[count:]:
        panel.set_axis_off()
    return figure, panels[:count]


def short(name):
    return TITLES[name].split(",")[0].split(" (")[0]


def write_page(folder, out, sections):
    """Writes the page `out`, and `folder`/table.png and curves.png.

    Args:
        sections: names of rows by the name of the corpus. Those with seeds of
            their own, `ROW_seedN.json`, are averaged.
    """
    corpora, repeated = {}, {}
    for name, names in sections.items():
        rows = []
        for row in names:
            paths = [folder / name / f"{row}.json"]
            paths += sorted((folder / name).glob(f"{row}_seed*.json"))
            found = [json.loads(x.read_text()) for x in paths if x.is_file()]
            rows += found[:1]
            if len(found) > 1:
                repeated.setdefault(name, []).append(seeds(row, found))
        if rows:
            check_same(name, rows)
            corpora[name] = sorted(rows, key=nll)
    if not corpora:
        raise ValueError(f"{folder} must have rows. Received: none")
    parts = [(HERE / "results_head.md").read_text().rstrip()]
    for draw, picture, says in (
        (plot_curves, "curves.png", "Validation −ELBO over the training"),
        (plot, "table.png", "NLL over MI"),
    ):
        draw(corpora, folder / picture)
        link = pathlib.Path(os.path.relpath(folder / picture, out.parent))
        parts.append(f"![{says}]({link.as_posix()})")
    for name, rows in corpora.items():
        iwae = rows[0]["figures"]["iwae"]
        draws = max(row["figures"]["iwae"]["num_samples"] for row in rows)
        parts += [
            f"## {TITLES[name]}",
            f"{NOTES[name]} The {SPLITS[rows[0]['split']]} split; "
            f"IWAE-{draws} on {iwae['documents']} documents; "
            f"{', '.join(sorted({row['machine'] for row in rows}))}.",
            table(rows),
            *repeated.get(name, ()),
        ]
        if name in PUBLISHED:
            parts.append(PUBLISHED[name])
    out.write_text("\n\n".join(parts) + "\n")


def check_same(name, rows):
    """Raises ValueError if the rows of a corpus cannot be compared."""
    for key in ("split", "of_epochs", "batch_size"):
        values = {row["row"]: row[key] for row in rows}
        if len(set(values.values())) > 1:
            raise ValueError(
                f"all rows of {name} must have one {key}. Received: {values}"
            )
