"""Foreign weights: safe readers, key maps and the list of published files."""
