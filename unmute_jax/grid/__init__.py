"""Runs grids of encoders x data sets x probes, one experiment per cell."""
