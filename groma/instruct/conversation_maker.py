"""From material to a conversation that is good enough, or reasons why there is none (paper 4)."""

from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any, Protocol

from tqdm import tqdm

from groma.data.file_names import find_picture
from groma.data.sample import QA, GroundedSample, regions_of
from groma.data.sources.groma_instruct import UNNAMED, format_item, parse_item
from groma.endpoint import EndpointError, UnusableEndpointError
from groma.instruct.described_pictures import Material, Source
from groma.instruct.draft_faults import Complaint, QualityRules, find_faults
from groma.instruct.draft_notation import BrokenDraftError, read_draft
from groma.instruct.made_folder import MadeFolder, Outcome
from groma.types import GromaError


class Writer(Protocol):
    """Writes drafts: a model elsewhere, or templates; may be used from several threads."""

    def write(self, material: Material, rounds: int, complaints: Sequence[Complaint] = ()) -> str:
        """Write a conversation of so many rounds, which `read_draft` reads, if all goes well.

        The complaints are about its earlier drafts, oldest first.
        """
        ...

    def stop(self) -> None:
        """Begin nothing more; `write` may raise `EndpointError` from now on."""
        ...


class Maker:
    """Has conversations written, and checks them.

    `drafts` is the most drafts of one conversation: the writer is told what was wrong with the
    last. The seed is that of the numbers of rounds.
    """

    def __init__(
        self, writer: Writer, pictures: Path, rules: QualityRules, drafts: int = 2, seed: int = 0
    ) -> None:
        self._writer = writer
        self._pictures = pictures
        self._rules = rules
        self._drafts = drafts
        self._seed = seed

    def make_all(
        self, source: Source, keys: Sequence[str], folder: MadeFolder, threads: int = 4
    ) -> None:
        """Make a conversation about every picture; each is on disk as soon as it is done.

        Raises `UnusableEndpointError` if nothing can be written; what is done is on disk.
        """
        outcomes = self._outcomes(source, keys, threads)
        for outcome in tqdm(outcomes, "Conversations", len(keys), unit="picture"):
            folder.add(outcome)

    def rounds(self, material: Material) -> int:
        """How many questions about a picture are asked for."""
        fewest, most = self._rules.fewest_rounds, self._rules.most_rounds
        return Random(f"{self._seed}/{material.picture}").randint(fewest, most)

    def _outcomes(self, source: Source, keys: Sequence[str], threads: int) -> Iterator[Outcome]:
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
                    waiting.add(pool.submit(self._make, key, material))
                    if len(waiting) >= 2 * threads:
                        done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                        yield from (future.result() for future in done)
                while waiting:
                    done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                    yield from (future.result() for future in done)
            except BaseException:
                # What is on its way is waited for, and its answer is kept.
                pool.shutdown(wait=False, cancel_futures=True)
                self._writer.stop()
                raise

    def _make(self, key: str, material: Material) -> Outcome:
        """Have one conversation written; called from several threads."""
        try:
            find_picture(self._pictures, material.picture)
            return self._write(key, material)
        except UnusableEndpointError:
            raise
        except EndpointError as error:
            return Outcome(key, "failed", (str(error),))
        except GromaError as error:
            return Outcome(key, "rejected", (str(error),))

    def _write(self, key: str, material: Material) -> Outcome:
        complaints: list[Complaint] = []
        while len(complaints) < self._drafts:
            draft = self._writer.write(material, self.rounds(material), tuple(complaints))
            try:
                turns = read_draft(draft, len(material.boxes))
                faults = find_faults(turns, material.boxes, self._rules)
            except BrokenDraftError as error:
                turns, faults = (), (str(error),)
            if not faults:
                return Outcome(key, "accepted", item=to_item(material, turns))
            complaints.append(Complaint(draft, faults))
        return Outcome(key, "rejected", complaints[-1].reasons)


def to_item(material: Material, turns: tuple[QA, ...]) -> dict[str, Any]:
    """A conversation in Groma-Instruct JSON, which `parse_item` reads.

    The regions of the turns are indices into the boxes of the material; those that nobody mentions
    are left out. Raises `GromaError` if it would not be read back as it is.
    """
    pieces = [piece for turn in turns for piece in (*turn.question, *turn.answer)]
    used = sorted({*regions_of(pieces)})
    row = {region: index for index, region in enumerate(used)}
    phrases = [phrase for turn in turns for phrase in turn.phrases]
    names = {region: phrase.text for phrase in reversed(phrases) for region in phrase.regions}
    sample = GroundedSample(
        material.picture,
        material.size,
        tuple(material.boxes[region] for region in used),
        tuple(names.get(region, UNNAMED) for region in used),
        tuple(replace(turn.renumbered(row), kind="chat") for turn in turns),
    )
    item = format_item(sample)
    if parse_item(item).turns != sample.turns:
        raise GromaError("The conversation cannot be written in Groma-Instruct JSON.")
    return item
