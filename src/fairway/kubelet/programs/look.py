"""agnhost dns-suffix, dns-server-list, etc-hosts and test-webserver: what a pod sees of its own files.

As in kubernetes `test/images/agnhost/dns` and `test-webserver`.
"""

from __future__ import annotations

import html
import os
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote, unquote

from fairway.kubelet.programs.flags import GO_SIGNALLED, catch_end, no_arguments, parse_flags, port_of, wait_for_end
from fairway.kubelet.programs.threaded import Exchange, Service

RESOLV_CONF = Path("/etc/resolv.conf")
HOSTS = Path("/etc/hosts")
_TYPES = {".html": "text/html; charset=utf-8", ".json": "application/json"}


def resolver(text: str, keyword: str) -> list[str]:
    """The values of a keyword of a resolv.conf; of several `search` lines the last counts (resolv.conf(5))."""
    lines = [words[1:] for words in map(str.split, text.splitlines()) if words[:1] == [keyword]]
    if keyword == "search":
        return lines[-1] if lines else []
    return [line[0] for line in lines if line]


def run_dns_suffix(arguments: Sequence[str]) -> int:
    return _print(arguments, ",".join(resolver(RESOLV_CONF.read_text(), "search")))


def run_dns_server_list(arguments: Sequence[str]) -> int:
    return _print(arguments, ",".join(resolver(RESOLV_CONF.read_text(), "nameserver")))


def run_etc_hosts(arguments: Sequence[str]) -> int:
    return _print(arguments, HOSTS.read_text())


def _print(arguments: Sequence[str], text: str) -> int:
    _, rest = parse_flags(arguments, {})
    no_arguments(rest)
    print(text)
    return 0


def run_test_webserver(arguments: Sequence[str]) -> int:
    """Serve every file of the pod until SIGTERM."""
    flags, rest = parse_flags(arguments, {"port": "80"})
    no_arguments(rest)
    port, ends = port_of(flags, "port"), catch_end()
    Service(port, serve_file).begin()
    return wait_for_end(ends, 0, GO_SIGNALLED)


def serve_file(exchange: Exchange) -> None:
    """Answer with what the path names: a file, a folder's index.html, or what is in a folder."""
    path = Path("/", unquote(exchange.path.partition("?")[0]).lstrip("/"))
    try:
        if path.is_dir() and not (path / "index.html").is_file():
            names = sorted(f"{each.name}/" if each.is_dir() else each.name for each in path.iterdir())
            links = "".join(f'<a href="{quote(name)}">{html.escape(name)}</a>\n' for name in names)
            exchange.answer(f"<pre>\n{links}</pre>\n", content_type=_TYPES[".html"])
            return
        file = path / "index.html" if path.is_dir() else path
        exchange.answer(
            file.read_bytes(), content_type=_TYPES.get(os.path.splitext(file)[1], "text/plain; charset=utf-8")
        )
    except (FileNotFoundError, NotADirectoryError, ValueError):
        exchange.answer("404 page not found\n", 404)
    except PermissionError:
        exchange.answer("403 Forbidden\n", 403)
    except OSError as error:
        exchange.answer(f"500 {error.strerror}\n", 500)
