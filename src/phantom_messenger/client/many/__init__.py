"""One message to many: its body is stored and encrypted once, and each recipient gets a head of their own.

``store`` keeps messages and how far each copy has come, ``packing`` divides recipients into frames, ``sending``
encrypts and sends, ``listener`` is what other parts of the client hear of theirs.
"""
