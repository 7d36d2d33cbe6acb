"""
Title: A hierarchical VAE of Shakespeare's scenes in a few minutes
Description: Train, evaluate, generate, reconstruct, interpolate, save.
Accelerator: none needed
"""

import sys

import keras

import keras_hvae

"""
## The corpus

The scenes of the 37 plays ship with the package: a document is a window of a
scene, a sentence is a speech. The test split is three plays of their own.
"""

keras.utils.set_random_seed(0)
corpus = keras_hvae.data.load(
    "shakespeare_scenes", vocabulary_size=4000, batch_size=16
)
print(corpus.report)

"""
## The model

No loss argument: the layers add nll and KL themselves. The recipe brings the
optimizer and the callbacks: the KL's weight grows from 0, and after each epoch
the latents are diagnosed in words.
"""

model = keras_hvae.HVAE(corpus.vocabulary)
steps = int(sys.argv[1]) if len(sys.argv) > 1 else None
plan = keras_hvae.training.recipe(corpus, epochs=3, steps=steps)
model.compile(plan.optimizer)
model.fit(
    corpus.train,
    validation_data=corpus.valid,
    epochs=plan.epochs,
    steps_per_epoch=plan.steps_per_epoch,
    shuffle=False,  # the corpus shuffles itself
    callbacks=plan.callbacks,
)

"""
## Does it use its latents?

The nll of a sentence should rise when it gets another document's latent: and
also when it gets that of another sentence of the same length, or else all that
the latents tell is the length.
"""

figures = keras_hvae.evaluation.evaluate(model, corpus.test)
print(keras_hvae.evaluation.summary(figures))

"""
## What it can do
"""

scene = corpus.documents("test", limit=1)[0][:3]
print("Given:", scene)
print("Reconstructed:", model.reconstruct(scene))
print("Continued:", model.generate(scene, num_sentences=2, seed=1))
print("New:", model.generate(num_documents=1, num_sentences=3, seed=1))
for step in model.interpolate(["Who's there?"], ["Good night."], steps=4):
    print("Between:", step)
scores = model.score(scene, num_samples=8, seed=1)
print("ELBO:", scores["elbo"], "nats; by speech:", scores["sentence_elbo"])
print("Latents:", model.encode(scene)["mean"].shape)

model.save("quickstart.keras")
again = keras.saving.load_model("quickstart.keras")
assert again.reconstruct(scene) == model.reconstruct(scene)
