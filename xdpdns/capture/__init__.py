"""Reading captures (pcap and pcapng, plain or gz, xz, zst) fast, in flat memory, to the exact byte.

A library would give bytes objects, one copy each; this gives windows of the file in which packets
lie where they were read, so that the kernel can be pointed at them, and an error that names the
byte at which a damaged file stops making sense.

The way of the data: `streams` (bytes) -> `pcap`, `pcapng` (records) -> `reader` (one file) ->
`rewrap` (Ethernet frames).
"""

from xdpdns.capture.batch import Batch
from xdpdns.capture.reader import Capture, Packet
from xdpdns.capture.rewrap import rewrap

__all__ = ["Batch", "Capture", "Packet", "rewrap"]
