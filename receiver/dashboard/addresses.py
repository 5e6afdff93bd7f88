"""Where a visitor comes from, coarsely: enough to slow guessing down and to recognise a site in the audit."""

from __future__ import annotations

from ipaddress import ip_address, ip_network


def ip_prefix(host: str | None) -> str | None:
    """The /24 of an IPv4 address, the /64 of an IPv6 one; None for anything else."""
    try:
        address = ip_address(host or "")
    except ValueError:
        return None
    return str(ip_network((address, 24 if address.version == 4 else 64), strict=False))
