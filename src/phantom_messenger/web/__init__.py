"""The page in the browser, as the files that it is made of, and what a server has to send with them.

``dist`` is made from the sources in ``web/`` by ``make web`` and is committed, so that nobody needs Node to serve it.
This package knows nothing of relays, clients and sockets.
"""
