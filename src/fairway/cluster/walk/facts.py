"""What the study states: the names and numbers the walk is judged against."""

from __future__ import annotations

from fairway.base.addresses import Family

DEPLOYMENT = "deploy-echo"
SERVICE = "svc-nodeport"
SERVICE_PORT = 9000
TARGET_PORT = 8080
SELECTOR = "app=deploy-websrv"

SERVICE_HASH = "VTR7MTHHNMFZ3OFS"
"""Of default/svc-nodeport:svc-webport and tcp: in KUBE-SVC-, KUBE-EXT- and KUBE-SVL-."""

ENDPOINT_CHAINS = {
    Family.IPV4: {
        "10.10.1.3": "KUBE-SEP-XEXGJWEWSC2GPNPZ",
        "10.10.2.3": "KUBE-SEP-2AEFSWYPQGZTCWEI",
        "10.10.3.4": "KUBE-SEP-C5MCUQGLTHD455UI",
    },
    Family.IPV6: {
        "fd00:10:10:1::3": "KUBE-SEP-J7T6JEKQVLGCJWSB",
        "fd00:10:10:2::3": "KUBE-SEP-7CT6JNNRPJNDNN3X",
        "fd00:10:10:3::4": "KUBE-SEP-SLA6XMIXWNP7VL3X",
    },
}
"""The study's pods and the chains kube-proxy made for their port 8080; and in a dual-stack lab, what it would make for
their IPv6 addresses: of "default/svc-nodeport:svc-webport", "tcp" and "[ADDRESS]:8080"."""

PROBABILITIES = ["0.33333333349", "0.50000000000", None]
"""The cascade over three endpoints as the kernel prints it; the last rule has none."""

SLICE_LIMIT = 100
"""Endpoints an EndpointSlice holds at most (kube-controller-manager --max-endpoints-per-slice)."""
