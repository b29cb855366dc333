"""Judges any relay from outside: what it must answer, refuse, limit and close, and the sentence that says so."""
