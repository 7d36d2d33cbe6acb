"""Layers of models of vectors."""
