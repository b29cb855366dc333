"""Keys, handshake and ratchet: pure, synchronous functions over explicit state.

This package knows the primitives and the Signal specifications built on them. It knows
no frame of the protocol, no file, no clock and no network.
"""
