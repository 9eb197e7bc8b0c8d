"""The model: what a pipeline is, how it progresses, and everything else that can be known without I/O."""
