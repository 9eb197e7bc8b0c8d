"""The wire, the three machines with their loops, the journal and the command line."""
