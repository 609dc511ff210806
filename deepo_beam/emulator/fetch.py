"""Images by URL: fetched with one session, from this machine only unless told otherwise."""

from __future__ import annotations

import asyncio
import ipaddress

import aiohttp
from yarl import URL

from deepo_beam.emulator.tasks import TaskFailedError

MAX_BYTES = 50_000_000
_TIMEOUT = aiohttp.ClientTimeout(total=10)


async def fetch(session: aiohttp.ClientSession, text: str, *, allow_urls: bool) -> bytes:
    """The bytes behind a URL.

    Args:
        session: to use.
        text: an http or https URL.
        allow_urls: any host, redirects followed; without it only this one, and no redirects.

    Raises:
        TaskFailedError: not allowed, unreachable, not 200, empty, or above 50 MB.
    """
    try:
        url = URL(text)
        if not (allow_urls or _is_loopback(url.host or "")):
            raise TaskFailedError(f"{text:.200}: only loopback addresses are fetched without --allow-urls")
        async with session.get(url, timeout=_TIMEOUT, allow_redirects=allow_urls) as reply:
            if reply.status != 200:
                raise TaskFailedError(f"{text:.200}: answered {reply.status}")
            image = bytearray()
            async for chunk in reply.content.iter_any():
                image += chunk
                if len(image) > MAX_BYTES:
                    raise TaskFailedError(f"{text:.200}: larger than {MAX_BYTES} bytes")
    except (aiohttp.ClientError, asyncio.TimeoutError, OSError, ValueError) as error:
        raise TaskFailedError(f"{text:.200}: {error or 'timed out'}") from error
    if not image:
        raise TaskFailedError(f"{text:.200}: the image is empty")
    return bytes(image)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"
