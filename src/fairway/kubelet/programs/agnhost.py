"""The image agnhost of Kubernetes' own tests.

Subcommands, flags and answers as in kubernetes `test/images/agnhost`; what that has and this has not is named on
standard error.
"""

from __future__ import annotations

import importlib
import sys

from fairway.kubelet.programs.echo import write_line
from fairway.kubelet.programs.flags import UsageError, catch_end, no_arguments, parse_flags, wait_for_end

SUBCOMMANDS = {
    "connect": "connect:run_connect",
    "dns-server-list": "look:run_dns_server_list",
    "dns-suffix": "look:run_dns_suffix",
    "etc-hosts": "look:run_etc_hosts",
    "net": "closewait:run_net",
    "netexec": "netexec:run_netexec",
    "pause": "agnhost:run_pause",
    "porter": "porter:run_porter",
    "serve-hostname": "netexec:run_serve_hostname",
    "test-webserver": "look:run_test_webserver",
}
"""Each in its module, which is loaded when it is called: `connect` is there at once."""


def run_pause(arguments: list[str]) -> int:
    """Until SIGTERM."""
    _, rest = parse_flags(arguments, {})
    no_arguments(rest)
    ends = catch_end()
    write_line("Paused")
    return wait_for_end(ends, 0, 0)


def main(arguments: list[str]) -> int:
    """Run a subcommand to its end. Exit code 1 when there is none such, its flags are wrong or a port is taken."""
    name, rest = (arguments or ["pause"])[0], arguments[1:]
    try:
        if name not in SUBCOMMANDS:
            raise UsageError(f'unknown command "{name}" for "app"; this agnhost has {", ".join(SUBCOMMANDS)}')
        module, _, function = SUBCOMMANDS[name].partition(":")
        run = getattr(importlib.import_module(f"fairway.kubelet.programs.{module}"), function)
        return int(run(rest))
    except (UsageError, OSError, OverflowError) as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
