"""Record what nft itself sends for the tables of our scenarios. Run by hand, as root, with nft 1.0.6 and strace:

    PYTHONPATH=src python -m tests.golden.nft.capture

Each table is written as text (dataplane/nft/text.py), `nft -f` loads it in a network namespace of its own, and strace
copies the bytes it sends. Beside this file one JSON for each: its scenario, the text, and every message's type and body
in hex, headers aside. tests/dataplane/nft/test_golden.py compares our own messages with them.
"""

from __future__ import annotations

import json
import re
import subprocess
import tempfile
from pathlib import Path

from tests.dataplane.nft.build import ruleset_of, scenarios
from tests.kernel.namespaces import in_namespaces

from fairway.dataplane.nft.text import format_table
from fairway.netlink.wire import decode_messages

HERE = Path(__file__).parent
SCENARIOS = (
    "local and guarded",
    "affinity, local and guarded",
    "guarded without endpoints",
    "odd networks",
    "node ports everywhere",
    "IPv6, local and guarded",
    "IPv6 affinity",
    "IPv6 everywhere",
    "pods by their bridge",
    "affinity, pods by their links",
    "IPv6, pods by their links",
)
_DUMPED = re.compile(r"^ \| [0-9a-f]+  ([0-9a-f ]{49})", re.MULTILINE)
"""A line of what strace prints for `-e write=3`: sixteen bytes in hex, then the same as characters."""


def path_of(scenario: str) -> Path:
    return HERE / f"{re.sub('[^A-Za-z0-9]+', '-', scenario).lower()}.json"


def sent_by_nft(text: str) -> bytes:
    """The bytes of the batch that `nft -f` sends for a text."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        file, trace = Path(folder, "table.nft"), Path(folder, "trace")
        file.write_text(text)
        command = ["strace", "-qq", "-e", "trace=sendmsg", "-e", "write=3", "-o", str(trace), "nft", "-f", str(file)]
        subprocess.run(command, check=True)
        calls = trace.read_text().split("sendmsg(")[1:]
    batches = [bytes.fromhex("".join(_DUMPED.findall(call))) for call in calls]
    return max(batches, key=len)  # the others ask what there is


def capture(scenario: str) -> dict[str, object]:
    text = format_table(ruleset_of(scenarios()[scenario]))
    messages = decode_messages(in_namespaces(sent_by_nft, text))
    listed = [[f"{each.kind:#06x}", each.body.hex()] for each in messages]
    return {"scenario": scenario, "text": text.splitlines(), "messages": listed}


def main() -> None:
    for scenario in SCENARIOS:
        path_of(scenario).write_text(json.dumps(capture(scenario), indent=0) + "\n")


if __name__ == "__main__":
    main()
