"""What having conversations written will take, before the first request is sent."""

from collections.abc import Iterator, Sequence
from random import Random

from groma.endpoint import Estimate, Message
from groma.instruct.endpoint_writer import EndpointWriter
from groma.instruct.maker import Maker
from groma.instruct.picture_sources import Source
from groma.types import GromaError

SAMPLE = 8
"""Requests that are written out to estimate all of them."""


def estimate_job(
    writer: EndpointWriter, source: Source, maker: Maker, keys: Sequence[str], seed: int = 0
) -> Estimate:
    """Estimate first drafts from a few of them; what is on disk already costs nothing.

    Args:
        writer: would be asked.
        source: of the pictures.
        maker: knows how much is to be written.
        keys: of the pictures to do.
        seed: of the sample.
    """
    sample = Random(seed).sample(list(keys), min(SAMPLE, len(keys)))
    estimate = writer.endpoint.estimate(_requests(writer, source, maker, sample))
    return estimate.scaled(len(keys) / max(1, len(sample)))


def _requests(
    writer: EndpointWriter, source: Source, maker: Maker, keys: Sequence[str]
) -> Iterator[list[Message]]:
    for key in keys:
        try:
            material = source.material(key)
            yield writer.messages(material, maker.rounds(material))
        except GromaError:
            continue
