"""Benchmarks: speed and memory, beside PyTorch."""
