"""The engines that a Broker runs attempts on, one per file."""
