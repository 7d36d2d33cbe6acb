"""Figures of written text."""
