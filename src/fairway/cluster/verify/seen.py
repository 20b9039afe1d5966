"""What became of a packet, as it was seen. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from fairway.base.addresses import IPAddress, format_host
from fairway.flow.trace import Disposition


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What came of a packet.

    server, peer: the ends of the connection as the server sees them. For NONE a server where it was sent to met it, or
    it was seen untouched on its way there, and these are None. fault: what went wrong besides, in words; "" if nothing.
    """

    disposition: Disposition
    server: tuple[IPAddress, int] | None = None
    peer: IPAddress | None = None
    fault: str = ""

    def __str__(self) -> str:
        """As a clause: "DNAT to 10.10.1.2:8080, from 172.18.0.1"."""
        text = str(self.disposition)
        if self.server is not None:
            text += f" {'to' if self.disposition is Disposition.DNAT else 'at'} {format_host(self.server[0])}"
            text += f":{self.server[1]}"
        if self.peer is not None:
            text += f", from {self.peer}"
        return f"{text} ({self.fault})" if self.fault else text
