"""What the page says: a sentence for each term and each axis."""

LATENT = (
    "A line is a sentence. Each sentence has its own **latent**, {size} "
    "numbers that the model writes it from, and each latent depends on the "
    "one before it: they form a chain. The **posterior** is what the model "
    "infers about a latent from the text; the **prior** is what it expects "
    "from the latents before, without having read the sentence."
)
BETWEEN = (
    "The model reads A and B, walks on the straight line between their "
    "latents, and writes the document at each place. At 0 and 1 it writes A "
    "and B again from their latents, which need not give the same words."
)
UNKNOWN = "words the model does not know, which it reads as one unknown word"
KL = (
    "Each bar is a sentence, in its order; its height is the KL divergence "
    "of the posterior from the prior, in nats (1 nat = 1.44 bits): how far "
    "reading the sentence has moved its latent. At 0 the latent says nothing "
    "of the sentence."
)
MAP = (
    "Each point is a sentence, at the posterior mean of its latent; grey ones "
    "the model has written from its prior. The axes are the two directions in "
    "which the points shown differ most (principal components): they have no "
    "name and no unit of their own."
)
EDIT = (
    "Move or redraw the latent of one sentence, and see what the model writes "
    "then. The sentences before stay; those behind follow by the prior, with "
    "the same random numbers in both columns: what differs comes from the "
    "change."
)
SENTENCE = "whose latent to change, counted from 1"
DIMENSION = "which of the latent's numbers to move"
SHIFT = "how far, in standard deviations of the prior there"
REDRAW = "seed to draw the latent from the prior with; 0 keeps it"
GO_ON = "The model reads the scene and writes the sentences that follow."
TEMPERATURE = "below 1 likely words become likelier, above 1 rare ones"
SEED = "the same seed writes the same sentences"
