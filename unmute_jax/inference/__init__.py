"""Uses trained probes: on recordings, for explanations, for diagnosis and export."""
