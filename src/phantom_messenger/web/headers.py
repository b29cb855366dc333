"""What is sent with every file of the page, whoever serves it."""

from typing import Final

FOREVER: Final = "public, max-age=31536000, immutable"
"""Cache-Control of a file whose name has its hash in it."""

ASK_FIRST: Final = "no-cache"
"""Cache-Control of all others: a browser asks by ETag whether its copy is still the one."""

HSTS: Final = "max-age=31536000"
"""Strict-Transport-Security (RFC 6797), where TLS is certain."""

OWN_ORIGIN: Final = "'self'"


def content_security_policy(connect: str = OWN_ORIGIN) -> str:
    """The policy (CSP level 3, with Trusted Types): code from the page's own files only, and words to one relay only.

    ``blob:`` are pictures that members of groups have made: the page has them in its memory, and nothing is loaded.

    Args:
        connect: where the page may connect to: its own origin, or the origin of a relay elsewhere.
    """
    return "; ".join(
        (
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "img-src 'self' blob:",
            f"connect-src {connect}",
            "worker-src 'self'",
            "manifest-src 'self'",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
            "require-trusted-types-for 'script'",
            "trusted-types phantom",
        )
    )


def security_headers(connect: str = OWN_ORIGIN) -> dict[str, str]:
    """The headers without which a browser would allow more than the page needs; for ``connect`` see above."""
    return {
        "Content-Security-Policy": content_security_policy(connect),
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Embedder-Policy": "require-corp",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Permissions-Policy": "camera=(self), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()",
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
    }
