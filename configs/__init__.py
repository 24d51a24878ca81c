"""One file per experiment. Each returns a config that the command line can change."""
