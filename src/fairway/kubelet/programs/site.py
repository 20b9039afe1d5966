"""A web server's first page, as the images nginx and httpd have it before anybody gives them a site: `site NAME`.

HTTP on port 80: `/` and `/index.html`; everything else is 404. No configuration is read.
"""

from __future__ import annotations

import sys
import time

from fairway.kubelet.programs.echo import access_line, write_line
from fairway.kubelet.programs.httpd import Server, listen, serve_until_signalled
from fairway.kubelet.programs.messages import Request, Response

PORT = 80
PAGES = {
    "nginx": "<!DOCTYPE html>\n<html><head><title>Welcome to nginx!</title></head>"
    "<body><h1>Welcome to nginx!</h1></body></html>\n",
    "httpd": "<html><body><h1>It works!</h1></body></html>\n",
}


def answer(page: str, request: Request) -> Response:
    """The page for its two paths, and what a server says to others."""
    if request.method not in ("GET", "HEAD"):
        return Response(b"405 Method Not Allowed\n", status=405)
    if request.target.partition("?")[0] not in ("/", "/index.html"):
        return Response(b"404 Not Found\n", status=404)
    return Response(page.encode(), content_type="text/html")


def main(arguments: list[str]) -> int:
    """Serve until SIGTERM. Exit code 1 when the port is taken."""
    try:
        listener = listen(PORT)
    except OSError as error:
        print(f"cannot listen on port {PORT}: {error}", file=sys.stderr)
        return 1
    page = PAGES[arguments[0]]
    server = Server(
        listener,
        lambda request: answer(page, request),
        access_log=lambda request, response: write_line(access_line(request, response, time.time())),
    )
    serve_until_signalled(server)
    return 0
