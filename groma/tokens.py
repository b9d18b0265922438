"""The 114 tokens Groma adds to a language model's vocabulary, and their ids (paper 3.2).

Ids follow from the size V of the base vocabulary alone: V + position in `NEW_TOKENS`.
"""

from dataclasses import dataclass

from groma.config import NUM_REGION_TOKENS, GromaConfig

PAD = "[PAD]"
SEP = "<sep>"
ROI_OPEN, ROI_CLOSE = "<roi>", "</roi>"
PHRASE_OPEN, PHRASE_CLOSE = "<p>", "</p>"
IMAGE = "<image>"
REGION = "<region>"
REFER_BOX = "<refer_box>"
GROUND_BOX = "<ground_box>"
REFER_FEATURE = "<refer_feat>"
GROUNDING = "[grounding]"
REGION_NAMES = tuple(f"<r{i}>" for i in range(NUM_REGION_TOKENS))

NEW_TOKENS = (
    *(PAD, SEP, "<img>", "</img>", ROI_OPEN, ROI_CLOSE, PHRASE_OPEN, PHRASE_CLOSE),
    *(IMAGE, REGION, REFER_BOX, GROUND_BOX, REFER_FEATURE, GROUNDING, *REGION_NAMES),
)


@dataclass(frozen=True)
class TokenIds:
    """Ids of the new tokens on top of a base vocabulary of `base` tokens."""

    base: int

    @classmethod
    def of(cls, config: GromaConfig) -> "TokenIds":
        """Read V off a model's config: the text vocabulary less the new tokens."""
        return cls(config.text_config.vocab_size - len(NEW_TOKENS))

    def __getitem__(self, token: str) -> int:
        """Id of one of `NEW_TOKENS`; raises `KeyError` for any other."""
        if token not in _POSITION:
            raise KeyError(f"{token!r} is not one of Groma's tokens.")
        return self.base + _POSITION[token]

    def region(self, index: int) -> int:
        """Id of `<r index>`, 0 <= index < 100."""
        return self[REGION_NAMES[index]]

    def region_index(self, token_id: int) -> int | None:
        """Index N of `<rN>`, or None if the id is not a region name."""
        index = token_id - self.region(0)
        return index if 0 <= index < NUM_REGION_TOKENS else None


_POSITION = {token: i for i, token in enumerate(NEW_TOKENS)}
