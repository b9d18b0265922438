"""Runs the maker on regions that no model proposes; as a script, for a test to kill it."""

import sys
from pathlib import Path
from unittest import mock

from groma.cli import instruct
from groma.cli import main as cli
from groma.instruct import described_pictures as sources
from groma.instruct.described_pictures import Material


class FixedSource:
    """Pictures with the same four regions each."""

    def __init__(self, folder: Path, *_: object) -> None:
        self.keys = sources.list_pictures(folder)

    def material(self, key: str) -> Material:
        boxes = tuple((x, 0.1, x + 0.2, 0.4) for x in (0.0, 0.25, 0.5, 0.75))
        return Material(key, (48, 64), boxes, (("a thing",),) * 4)


def main(url: str, pictures: object, save: object, *options: str) -> int:
    writer = ("--endpoint", url, "--writer", "fake", "--per-minute", "1000000", *options)
    with (
        mock.patch.object(sources, "ProposalSource", FixedSource),
        mock.patch.object(instruct, "load_model", lambda _: None),
    ):
        return cli.main(["instruct", str(pictures), "--save", str(save), *writer])


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
