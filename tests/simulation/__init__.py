"""The simulator: the real machines and loops of a cluster, on simulated wires, disks, processes and clocks.

Everything that happens follows from a seed. `python -m tests.simulation --help` runs it.
"""
