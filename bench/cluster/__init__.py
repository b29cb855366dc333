"""A cluster on one machine, to try and to break: database nodes that fail over by themselves, and relays."""
