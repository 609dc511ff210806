"""A bare loop on urllib3.

python -m benchmarks.bench.peers.bare_urllib3 FOLDER URL --threads 1
"""

from __future__ import annotations

import urllib3

from benchmarks.bench.peers.ladder import HEADERS, arguments, label


def main() -> None:
    """Label."""
    options = arguments(__doc__, "threads")
    pool = urllib3.connection_from_url(options.url, maxsize=options.threads)

    def exchange(path: str, body: bytes | None) -> bytes:
        reply = pool.urlopen("GET" if body is None else "POST", path, body=body, headers=HEADERS, retries=False)
        if reply.status >= 300:
            raise RuntimeError(f"refused: {reply.status}")
        return reply.data

    label(options.folder, options.threads, exchange)


if __name__ == "__main__":
    main()
