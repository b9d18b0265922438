"""Pictures from addresses that strangers name: only public ones, and not too large."""

import httpx
import safehttpx

from groma.types import GromaError

_SECONDS = 10


async def fetch_public(url: str, most_bytes: int) -> bytes:
    """Read a picture from the net.

    Args:
        url: http or https; no other machine than a public one is asked, wherever it leads.
        most_bytes: of the picture's file.

    Raises:
        GromaError: if there is none, or it is too large.
    """
    host = httpx.URL(url).host
    try:
        # The address that was checked is the one that is asked, whatever a name means next time.
        transport = safehttpx.AsyncSecureTransport(await safehttpx.async_validate_url(host))
        async with (
            httpx.AsyncClient(transport=transport, timeout=_SECONDS) as client,
            client.stream("GET", url) as response,
        ):
            return await _read(response, most_bytes)
    except GromaError:  # which is a ValueError, and says more than we would
        raise
    except (httpx.HTTPError, httpx.InvalidURL, ValueError, OSError) as mistake:
        raise GromaError("The picture's address cannot be read; send the picture.") from mistake


async def _read(response: httpx.Response, most_bytes: int) -> bytes:
    if not response.is_success:
        raise GromaError(f"The picture's address answers {response.status_code}; send the picture.")
    data = b""
    async for part in response.aiter_bytes():
        data += part
        if len(data) > most_bytes:
            raise GromaError(f"The picture's file is larger than {most_bytes / 1e6:.0f} MB.")
    return data
