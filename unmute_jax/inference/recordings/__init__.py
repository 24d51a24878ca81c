"""A trained probe on recordings of any length: heard in windows, written as events."""
