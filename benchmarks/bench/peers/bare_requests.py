"""A bare loop on requests: one session, prepared requests, nothing asked of the environment.

python -m benchmarks.bench.peers.bare_requests FOLDER URL --threads 1
"""

from __future__ import annotations

import requests
from requests.adapters import HTTPAdapter

from benchmarks.bench.peers.ladder import HEADERS, arguments, label


def main() -> None:
    """Label."""
    options = arguments(__doc__, "threads")
    session = requests.Session()
    session.trust_env = False
    session.mount("http://", HTTPAdapter(pool_maxsize=options.threads))
    prepared = session.prepare_request(requests.Request("POST", options.url, headers=HEADERS))

    def exchange(path: str, body: bytes | None) -> bytes:
        request = prepared.copy()
        request.url = options.url + path
        if body is None:
            request.method = "GET"
            del request.headers["Content-Length"]
        else:
            request.body = body
            request.headers["Content-Length"] = str(len(body))
        reply = session.send(request)
        reply.raise_for_status()
        return reply.content

    label(options.folder, options.threads, exchange)


if __name__ == "__main__":
    main()
