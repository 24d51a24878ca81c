"""Inference with trained probes: recordings, explanations, diagnosis, export."""
