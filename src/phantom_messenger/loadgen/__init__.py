"""The load generator that measures relays: plain sockets, and frames that are built before the clock starts."""
