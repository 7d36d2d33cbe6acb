"""Recurrent layers over packed and masked sequences."""
