"""What runs a model outside `fit`: methods, compiled steps, seeds."""
