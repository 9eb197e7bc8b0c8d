"""The content cache: earlier results of the same code on the same input."""
