"""Trains probes on stored tokens, chooses by validation and tests once."""
