"""Programs in use today, made to do what the relay does: ``make bench-peers``."""
