"""Benchmarks: one question per file; each runs its peers in the same run and prints ratios."""
