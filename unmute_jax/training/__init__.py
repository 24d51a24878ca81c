"""From tokens to scores: steps, loop, selection, run state."""
