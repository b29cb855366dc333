"""Several devices of one person, as ``protocol/devices.md`` says: rules alone, without storage, network or clock.

``device_list`` is what a person signs, ``known_list`` what others make of it; ``link_code`` and ``linking`` bring a new
device in; ``routing`` says to whom something goes and whose something is.
"""
