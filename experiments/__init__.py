"""The programs: `python -m experiments.train --config configs/quickstart.py`."""
