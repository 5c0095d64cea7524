"""Pictures of windows, layouts and counters."""
