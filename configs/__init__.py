"""One file per experiment; each returns a config that the command line can change."""
