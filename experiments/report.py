"""Turns the records of runs into a report.

This is `unmute report` from a checkout.

python -m experiments.report --help
"""

from unmute_jax.cli import report

if __name__ == "__main__":
    report.run()
