"""Groups as rules: what a change says, what a group is after it, and which chain of changes is everybody's.

``change`` writes and reads changes, ``state`` applies them, ``chain`` judges what arrives, ``link`` invites. Nothing
here stores, sends or reads a clock. The rules are those of protocol/groups.md.
"""
