"""Many experiments as one: encoders x data sets x probes, on any number of hosts."""
