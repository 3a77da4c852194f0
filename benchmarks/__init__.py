"""What ``radixproof bench`` runs: ratios within one run, never absolute times."""
