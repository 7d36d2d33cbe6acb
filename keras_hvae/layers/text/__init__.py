"""Layers that read and write words."""
