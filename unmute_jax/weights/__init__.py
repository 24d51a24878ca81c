"""Reads foreign weights: safe readers, key maps and where files are published."""
