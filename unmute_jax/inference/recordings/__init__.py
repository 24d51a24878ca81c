"""Applies a trained probe to recordings of any length and writes the events it detects.

A recording is read in overlapping windows (`windows`). A `Predictor` or a `Tagger`
scores them in batches (`stream`), and scores are saved as they come
(`partial_results`). Windows of one class that overlap or touch become events
(`events`, `detections`).
"""
