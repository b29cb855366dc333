"""What every SQLite file of this project needs: opening, locking, schema steps, errors, scrubbing.

The relay's engine and the client's vault use it. It knows nothing of what they store.
"""
