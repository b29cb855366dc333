"""Ports that belong to one test, while others run beside it."""

import os
import socket
import weakref


class HeldPort:
    """A port that nobody gets by chance, on no address of this machine, until this object is gone.

    A socket is bound to it and does not listen: connections are refused, until a program that is told the number
    listens. It can, also after a restart, if it lets an address be taken again (SO_REUSEADDR), as servers do.
    """

    def __init__(self) -> None:
        both = socket.has_dualstack_ipv6()
        held = socket.socket(socket.AF_INET6 if both else socket.AF_INET)
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if both:
            held.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        held.bind(("::" if both else "0.0.0.0", 0))  # noqa: S104 - it does not listen
        self.number: int = held.getsockname()[1]
        self.release = weakref.finalize(self, os.close, held.detach())
