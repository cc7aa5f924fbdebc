"""Measures the served API, as ratios in one run: beside a plain-DRF twin and beside pgbench."""
