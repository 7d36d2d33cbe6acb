"""Writes RESULTS.md and its picture from the rows of `table.py`."""

import json
import math
import os
import pathlib

from keras_hvae.evaluation import paired_bootstrap

HERE = pathlib.Path(__file__).parent
TITLES = {
    "ptb": "Penn Treebank, sentence by sentence",
    "dailydialog": "DailyDialog",
    "dailydialog_ablation": "DailyDialog: transitions and priors",
    "cornell": "Cornell movie dialogues (80 %)",
    "shakespeare": "Shakespeare's plays (shipped with the package)",
    "chitchat": "Chitchat",
    "movie_reviews": "Movie reviews, as documents",
}
NOTES = {
    "ptb": "Standard split, text split at spaces, vocabulary of 10,000 with "
    "`<unk>` and `[EOS]`; test: 3,761 sentences, 82,430 tokens.",
    "dailydialog": "Standard split (109 of its 1,000 test dialogues also "
    "occur in train), first 10 turns, 30 tokens a turn with `[EOS]`, "
    "10,000 ids.",
    "dailydialog_ablation": "As above, with less time.",
    "cornell": "80 % of the corpus under VHCR's split rule: 6,653 test "
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
        "| LSTM-LM (Li et al. 2019, as reprinted by Optimus) | | 100.47 ✓ "
        "| | | |\n"
        "| VAE + annealing | 101.28 | 101.40 ✓ | 0.00 | | 0 |\n"
        "| aggressive encoder | 101.19 | 99.83 ✓ | 0.93 | 0.83 | 4 |\n"
        "| AE pre-training + free bits | 102.41 | 96.86 ✓ | 6.54 | 5.31 | 32 "
        "|\n"
        "| Texar LSTM VAE | 101.92 | 104.61 ✓ | | | |\n"
        "| Sentence-VAE | 111.24 = 103.967 + 7.269 | | 7.269 | | |\n\n"
        "✓: arithmetic checked against the token counts. The others are "
        "quoted from memory of the papers."
    ),
    "cornell": (
        "| published, whole corpus, conditional | nats a token |\n|---|---|\n"
        "| HRED | 3.873 |\n"
        "| VHRED | 3.912 = 3.619 + 0.293 ✓ |\n"
        "| VHRED + word drop | 3.904 = 3.553 + 0.351 ✓ |\n"
        "| VHRED + bow | 4.149 = 2.982 + 1.167 ✓ |\n"
        "| VHCR | 4.026 = 2.523 + 1.503 ✓ |\n\n"
        "✓: arithmetic checked. Another test set and vocabulary: not "
        "comparable digit by digit."
    ),
}
HEAD = (
    "| row | parameters | tokens seen | min | −ELBO / sentence | −ELBO / token "
    "| NLL / token "
    "| PPL | above gru_lm | with particles | conditional NLL / token "
    "| above hred "
    "| KL / sentence | AU | MI | z-ablation |"
)


def nll(row):
    """NLL of all documents, nats a token: −ELBO less the measured gap."""
    figures = row["figures"]
    return figures["neg_elbo"]["per_token"] - figures["iwae"]["gap"]


def conditional(row):
    """Of sentences 2 … n, nats a token, of the documents drawn for IWAE."""
    part = row["figures"]["iwae"]["conditional"]
    if part is None:
        return ""
    mark = "~" if part["estimate"].startswith("difference") else ""
    return f"{mark}{part['nll']['per_token']:.3f}"


def above(row, reference, scope="", bound="iwae"):
    """By how many % the NLL is above another row's, and a 95 % interval."""
    if reference is None or row is reference or bound not in row["figures"]:
        return ""
    own = row["figures"][bound]["by_document"]
    other = reference["figures"]["iwae"]["by_document"]
    tokens = own[f"{scope}tokens"]
    if tokens != other[f"{scope}tokens"]:
        raise ValueError(
            f"{row['row']} and {reference['row']} of {row['corpus']} must "
            "have the same documents. Received: others"
        )
    nats = other[f"{scope}nll"]
    figures = paired_bootstrap(own[f"{scope}nll"], nats, tokens)
    scale = 100 * sum(tokens) / sum(nats)
    value, low, high = (
        scale * figures[key] for key in ("difference", "low", "high")
    )
    return f"{value:+.1f} % [{low:+.1f}, {high:+.1f}]"


def table(rows):
    by_name = {row["row"]: row for row in rows}
    lines = [HEAD, "|" + "---|" * HEAD.count(" |")]
    for row in rows:
        figures = row["figures"]
        value = nll(row)
        latent = ["", "", "", ""]
        if "active_units" in figures:
            units = figures["active_units_by_position"]
            information = figures["mi_full_by_position"]
            latent = [
                f"{figures['kl']['per_sentence']:.2f}",
                f"{sum(units) / len(units):.0f} ({figures['active_units']}) "
                f"of {figures['latent_dim']}",
                f"{sum(information) / len(information):.2f} "
                f"({figures['mi_full']:.2f})",
                f"{figures['z_ablation']:.2f}",
            ]
        cells = [
            row["row"],
            f"{row['parameters'] / 1e6:.2f} M",
            f"{row['tokens_seen'] / 1e6:.1f} M",
            f"{row['minutes']:.1f}",
            f"{figures['neg_elbo']['per_sentence']:.2f}",
            f"{figures['neg_elbo']['per_token']:.3f}",
            f"{value:.3f}",
            f"{math.exp(value):.1f}",
            above(row, by_name.get("gru_lm")),
            above(row, by_name.get("gru_lm"), bound="particles"),
            conditional(row),
            above(row, by_name.get("hred"), "conditional_"),
            *latent,
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def plot(corpora, path):
    """NLL over KL, a panel a corpus."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.2 * len(corpora), 3.8), layout="constrained")
    panels = figure.subplots(1, len(corpora), squeeze=False)[0]
    for panel, (name, rows) in zip(panels, corpora.items()):
        for row in rows:
            figures = row["figures"]
            x, y = figures["kl"]["per_sentence"], nll(row)
            if "active_units" not in figures:
                panel.axhline(y, color="0.7", linewidth=1, zorder=0)
            panel.plot(x, y, "o")
            panel.annotate(
                row["row"].removeprefix("hvae_") or "hvae",
                (x, y),
                textcoords="offset points",
                xytext=(4, 3),
                fontsize=8,
            )
        panel.set_title(TITLES[name].split(",")[0].split(" (")[0])
        panel.set_xlabel("KL (nats a sentence)")
        panel.margins(x=0.2, y=0.1)
    panels[0].set_ylabel("NLL (nats a token)")
    figure.savefig(path, dpi=110)


def write_page(folder, out, sections):
    """Writes the page `out` and `folder`/table.png.

    `sections`: names of rows by the name of the corpus, maybe with
    `_ablation` behind it.
    """
    corpora = {}
    for name, names in sections.items():
        place = pathlib.Path(folder, name.removesuffix("_ablation"))
        paths = [place / f"{row}.json" for row in names]
        rows = [json.loads(x.read_text()) for x in paths if x.is_file()]
        rows = [row for row in rows if "iwae" in row["figures"]]
        if rows:
            corpora[name] = sorted(rows, key=nll)
    picture = pathlib.Path(folder, "table.png")
    plot(corpora, picture)
    parts = [(HERE / "results_head.md").read_text().rstrip()]
    link = pathlib.Path(os.path.relpath(picture, out.parent)).as_posix()
    parts.append(f"![NLL over KL]({link})")
    for name, rows in corpora.items():
        first = rows[0]
        iwae = first["figures"]["iwae"]
        draws = max(row["figures"]["iwae"]["num_samples"] for row in rows)
        parts += [
            f"## {TITLES[name]}",
            f"{NOTES[name]} IWAE-{draws} on {iwae['documents']} documents; "
            f"{first['machine']}.",
            table(rows),
        ]
        if name in PUBLISHED:
            parts.append(PUBLISHED[name])
    out.write_text("\n\n".join(parts) + "\n")
