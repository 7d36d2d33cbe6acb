"""Output distributions over the vocabulary."""
