"""Other ways to write a pipeline. Each compiles to the one model, and nothing outside of this folder knows of them."""
