"""The commands of `headrace`, one noun per file. Each is: parse, put the configuration together, build, run."""
