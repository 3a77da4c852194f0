"""The command ``radixproof``: argument parsing, progress and rendering, nothing else."""
