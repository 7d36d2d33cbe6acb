"""Shakespeare's plays by scenes, as the TFDS dataset `shakespeare_scenes`.

Importing this package registers the dataset with TensorFlow Datasets, which
must be installed.
"""

from keras_hvae.data.shakespeare_scenes.shakespeare_scenes import (
    ShakespeareScenes,
)

__all__ = ["ShakespeareScenes"]
