"""What the tests need: people and their frames, a relay as a process, a relay in a simulation."""
