"""Benchmarks: tables of ratios, each from one run, because times on a busy machine lie."""
