"""Benchmarks: ratios measured in one run, next to the limit they are measured against."""
