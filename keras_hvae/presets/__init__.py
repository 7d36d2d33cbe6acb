"""Trained models in folders: how they are saved, found and checked."""
