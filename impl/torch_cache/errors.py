"""What the cache answers illegal use with (domain.md 0.4); raised before anything changes."""

from __future__ import annotations


class CacheError(Exception):
    """Base of all errors of the cache."""


class ArgumentError(CacheError):
    """E_ARG: an argument breaks a precondition that can be checked locally."""


class ProtocolError(CacheError):
    """E_PROTO: release without acquire, an unknown request, nothing to execute."""


class BusyError(CacheError):
    """E_BUSY: a destructive operation while requests, locks or transfers are in flight."""


class InternalError(CacheError):
    """E_INTERNAL: the cache found its own state broken and stops."""
