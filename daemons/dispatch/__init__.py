"""The Router's machine: what it knows, what it decides, and what its loop does about it."""
