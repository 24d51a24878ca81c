"""The commands of `unmute`, one module each."""
