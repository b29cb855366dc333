"""Stores for the relay, one file each; all keep the contract in ``relay.ports``."""
