"""The protocol as bytes and typed frames.

This package knows what a frame looks like, how it is written canonically, what is signed, and
which codes and limits exist. It knows no socket, no clock, no keys, and no rule about who may
send what.
"""
