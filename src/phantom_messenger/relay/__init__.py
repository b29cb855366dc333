"""The relay: who is connected, who may do what, and mail that waits.

The core (rules, session, pipeline, handlers, hub, outbox, relay) is synchronous and
fed from outside: clock, randomness, transport and store are arguments. It sees
ciphertexts and never a key that could open one: importing ``crypto`` is forbidden
here and checked by the build.
"""
