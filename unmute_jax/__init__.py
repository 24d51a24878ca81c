"""How good is this frozen audio encoder? Probes on patch tokens, in JAX."""
