"""Grids: encoders x data sets x probes, one experiment per cell."""
