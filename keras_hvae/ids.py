"""Ids of the special tokens, the same in every vocabulary."""

PAD_ID, UNK_ID, BOS_ID, EOS_ID = 0, 1, 2, 3
SPECIAL_TOKENS = ("", "[UNK]", "[BOS]", "[EOS]")
