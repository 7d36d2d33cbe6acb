"""Estimators in NumPy: bounds, information, intervals."""
