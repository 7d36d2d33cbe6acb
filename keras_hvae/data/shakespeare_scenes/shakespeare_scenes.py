"""The TFDS builder of `shakespeare_scenes`."""

import hashlib
import json
import lzma
import pathlib

import tensorflow_datasets as tfds

_FILE = pathlib.Path(__file__).parent / "scenes.jsonl.xz"
_SHA256 = "8f38cbc8f2b847e2c5a10f68b56961fd59591729b144576c8fdd79241fc46047"

_DESCRIPTION = """
The scenes of Shakespeare's 37 plays; a sentence is a speech. Built from a file
in this package, without the network. The splits hold whole plays, and the two
smaller ones a comedy, a history and a tragedy each.
"""
_HELD_OUT = {
    "julius_caesar": "validation",
    "as_you_like_it": "validation",
    "henry_v": "validation",
    "macbeth": "test",
    "twelfth_night": "test",
    "richard_iii": "test",
}


class ShakespeareScenes(tfds.core.GeneratorBasedBuilder):
    """The scenes of Shakespeare's 37 plays, split by play.

    Features: `play`, `scene` (its heading), and for each speech of the scene
    an item in `speakers` and in `sentences`. Splits:

    - `test`: Macbeth, Twelfth Night, Richard III;
    - `validation`: Julius Caesar, As You Like It, Henry V;
    - `train`: the other 31 plays.

    Example:

    >>> import tensorflow_datasets as tfds
    >>> import keras_hvae.data.shakespeare_scenes
    >>> builder = tfds.builder("shakespeare_scenes")
    """

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "First release."}

    def _info(self):
        texts = tfds.features.Sequence(tfds.features.Text())
        return self.dataset_info_from_configs(
            description=_DESCRIPTION,
            features=tfds.features.FeaturesDict(
                {
                    "play": tfds.features.Text(),
                    "scene": tfds.features.Text(),
                    "speakers": texts,
                    "sentences": texts,
                }
            ),
            license="Public domain; file under CC BY 2.5",
            homepage="https://www.gutenberg.org/",
        )

    def _split_generators(self, dl_manager):
        data = _FILE.read_bytes()
        received = hashlib.sha256(data).hexdigest()
        if received != _SHA256:
            raise ValueError(
                f"{_FILE} must have the SHA-256 {_SHA256}. Received: {received}"
            )
        scenes = [json.loads(s) for s in lzma.decompress(data).splitlines()]
        return {
            split: self._generate_examples(scenes, split)
            for split in ("train", "validation", "test")
        }

    def _generate_examples(self, scenes, split):
        for index, scene in enumerate(scenes):
            if _HELD_OUT.get(scene["play"], "train") == split:
                yield (
                    index,
                    {
                        "play": scene["play"],
                        "scene": scene["scene"],
                        "speakers": scene["s"],
                        "sentences": [
                            t.replace(" / ", " ") for t in scene["t"]
                        ],
                    },
                )
