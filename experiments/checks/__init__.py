"""Checks that take long: kills, device counts, files of full size."""
