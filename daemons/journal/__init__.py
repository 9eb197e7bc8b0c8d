"""The journal: facts on disk, how they get there, how they are read, and how damage is told."""
