"""Programs that people run today, made to do what the relay does: ``make bench-peers``."""
