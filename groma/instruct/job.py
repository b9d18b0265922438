"""Works through pictures, several at a time, and goes on where an earlier run ended."""

from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait

from tqdm import tqdm

from groma.instruct.journal import Journal
from groma.instruct.maker import Maker, Outcome
from groma.instruct.picture_sources import Source
from groma.types import GromaError


def run_job(
    source: Source, maker: Maker, journal: Journal, keys: Sequence[str], threads: int = 4
) -> None:
    """Make a conversation about every picture; each is in the journal as soon as it is done.

    Args:
        source: of the pictures.
        maker: of the conversations.
        journal: of what became of them.
        keys: of the pictures to do.
        threads: how many conversations are written at a time.

    Raises:
        UnusableEndpointError: if nothing can be written; what is done is in the journal.
    """
    with tqdm(total=len(keys), unit="picture", desc="Conversations") as progress:
        for outcome in _outcomes(source, maker, keys, threads):
            journal.append(outcome.to_entry())
            progress.update()


def pending(source: Source, journal: Journal, retry: bool) -> list[str]:
    """Pictures that are still to do.

    Args:
        source: of the pictures.
        journal: of what became of some.
        retry: whether those whose writer failed are to do again.
    """
    done = {
        key for key, entry in journal.entries.items() if not (retry and entry["status"] == "failed")
    }
    return [key for key in source.keys if key not in done]


def _outcomes(source: Source, maker: Maker, keys: Sequence[str], threads: int) -> Iterator[Outcome]:
    waiting: set[Future[Outcome]] = set()
    with ThreadPoolExecutor(threads) as pool:
        try:
            for key in keys:
                try:
                    # Here and not in the pool: a model proposes for one picture at a time.
                    material = source.material(key)
                except GromaError as error:
                    yield Outcome(key, "rejected", (str(error),))
                    continue
                waiting.add(pool.submit(maker.make, key, material))
                if len(waiting) >= 2 * threads:
                    done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                    yield from (future.result() for future in done)
            while waiting:
                done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                yield from (future.result() for future in done)
        except BaseException:
            # What is on its way is waited for, and its answer is kept.
            pool.shutdown(wait=False, cancel_futures=True)
            maker.stop()
            raise
