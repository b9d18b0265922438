"""Talking about a picture: encode once, ask many times, compute only what is new (paper 3.2)."""

import copy
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from groma.chat.conversation import (
    Conversation,
    Finish,
    GroundedReply,
    Turn,
    check_question,
    question_pieces,
)
from groma.chat.decoder import PrefixDecoder, PromptEmbedder, Step
from groma.chat.regions import list_regions, name_regions
from groma.chat.settings import GenerationSettings, SettingValues
from groma.config import GromaConfig
from groma.foreign import clean_text
from groma.image import ImageSource, load_image, to_pixels
from groma.model.groma import GromaForConditionalGeneration
from groma.model.region_selection import SelectionPolicy
from groma.model.splice import expand_placeholders
from groma.named_regions import Region
from groma.ops.tiles import tile_windows, tiles_per_side
from groma.shapes import Shape
from groma.text.grounding import GroundingGrammar, ReplyBuilder
from groma.text.template import Template, check_mentions
from groma.tokens import TokenIds
from groma.types import Detail, EncodedImage, GromaError, ObjectnessMix, PixelInput, Size

if TYPE_CHECKING:
    from groma.masks.maker import MaskMaker, PictureMasks

Picture = ImageSource | EncodedImage
"""A picture in any form, or what `Groma.encode_image` made of it."""

Boxes = Sequence[Sequence[float]]
"""Boxes xyxy in pixels of the original picture."""

Drawn = Sequence[Shape | Sequence[float] | Mapping[str, Any]]
"""Regions that a user drew, see `groma.shapes.read_shape`."""

Stream = Generator[GroundedReply]
"""Growing replies; closing it ends the answer where it is."""


class Groma:
    """A model in eval mode and its tokenizer: pictures in, grounded conversations out."""

    _step: Step | None = None
    adapter: str = ""
    _encode: Callable[[PixelInput], EncodedImage] | None = None
    mask_maker: "MaskMaker | None" = None

    def __init__(
        self, model: GromaForConditionalGeneration, tokenizer: PreTrainedTokenizerBase
    ) -> None:
        self.model = model
        self.template = Template(tokenizer, TokenIds.of(model.config))

    @property
    def config(self) -> GromaConfig:
        """Sizes and thresholds of the model."""
        return self.model.config

    def with_adapter(self, folder: str | Path) -> "Groma":
        """This model with what the adapter (LoRA) in a folder has learnt.

        The two share their weights and answer side by side; this one stays as it is. A picture
        that one has encoded must be encoded anew for the other. Raises `GromaError` if it is no
        adapter, or was made for another model.
        """
        # Late: peft takes a while, and most talks need none.
        from groma.checkpoint.adapters import attach, read_adapter

        adapted, adapter = copy.copy(self), read_adapter(folder)
        adapted.model, adapted.adapter = attach(self.model, adapter), adapter.name
        adapted._step = adapted._encode = None
        return adapted

    def with_helpers(self, step: Step, encode: Callable[[PixelInput], EncodedImage]) -> "Groma":
        """This model with other ways to compute, such as together with other threads.

        `step` as in `PrefixDecoder`; `encode` takes the place of `encode_pixels`, where nothing is
        said of objectness.
        """
        helped = copy.copy(self)
        helped._step, helped._encode = step, encode
        return helped

    def with_masks(self, maker: "MaskMaker") -> "Groma":
        """This model with a maker of masks, which sees every picture that is encoded from now on.

        `groma.masks.maker.load_maker` makes one. It begins when a mask is asked for.
        """
        masking = copy.copy(self)
        masking.mask_maker = maker
        return masking

    def encode_image(
        self,
        image: Picture,
        objectness_mix: ObjectnessMix | None = None,
        detail: Detail = 1,
    ) -> EncodedImage:
        """Compute everything about a picture that does not depend on the conversation.

        Args:
            image: anything `groma.image.load_image` reads; an encoded picture is returned as it is.
            objectness_mix: what ranks proposals, see `RegionProposer.propose`.
            detail: see `GenerationSettings`.

        Raises:
            GromaError: if it is no picture, damaged or too large.
        """
        if isinstance(image, EncodedImage):
            return image
        picture = load_image(image)
        pixels = self.to_pixels(picture, detail)
        if self._encode is None or objectness_mix is not None:
            (encoded,) = self.encode_pixels([pixels], objectness_mix)
        else:
            encoded = self._encode(pixels)
        masks = self.look_for_masks(picture) if self.mask_maker else None
        return replace(encoded, masks=masks)

    def look_for_masks(self, image: ImageSource) -> "PictureMasks":
        """A picture as this model's maker of masks sees it, or GrabCut if it has none."""
        from groma.masks.maker import load_maker  # late: few talks need masks

        return (self.mask_maker or load_maker()).look(load_image(image))

    def to_pixels(self, image: ImageSource, detail: Detail = 1) -> PixelInput:
        """What the model sees of a picture; arguments as in `encode_image`."""
        picture = load_image(image)
        side = self.config.image_size
        per_side = self.tiles_per_side((picture.height, picture.width), detail)
        return to_pixels(picture, side, tile_windows(per_side))

    def tiles_per_side(self, size: Size, detail: Detail) -> int:
        """How many tiles in a row a picture (H, W) is looked at in; 1 is the whole alone."""
        return tiles_per_side(*size, self.config.image_size) if detail == "auto" else detail

    @torch.inference_mode()
    def encode_pixels(
        self, pictures: Sequence[PixelInput], objectness_mix: ObjectnessMix | None = None
    ) -> list[EncodedImage]:
        """Encode pictures from `to_pixels` together, and the tiles of each; see `encode_image`."""
        weight = next(self.model.image_encoder.parameters())
        pixels = torch.stack([picture.pixels for picture in pictures]).to(weight)
        sizes = [picture.original_size for picture in pictures]
        encoded = self.model.encode_image(pixels, sizes, objectness_mix)
        return [
            self.model.add_tiles(
                image, picture.tiles.to(weight), picture.windows.to(weight.device), objectness_mix
            )
            if len(picture.windows)
            else image
            for image, picture in zip(encoded, pictures, strict=True)
        ]

    def regions(self, image: Picture, **settings: Unpack[SettingValues]) -> tuple[Region, ...]:
        """The regions a conversation about a picture starts with, best first.

        `image` as in `encode_image`; `settings` are fields of `GenerationSettings`.
        """
        chosen = GenerationSettings(**settings)
        encoded = self.encode_image(image, detail=chosen.detail)
        return name_regions((), encoded, (), self.policy(chosen), self.config.max_regions)

    def chat(
        self,
        image: Picture,
        conversation: Conversation | None = None,
        **settings: Unpack[SettingValues],
    ) -> "Chat":
        """Start a conversation about a picture, or continue one.

        Args:
            image: see `encode_image`.
            conversation: what was said so far, for instance from `Conversation.from_dict`.
            settings: defaults of this conversation, fields of `GenerationSettings`.

        Raises:
            GromaError: if the conversation is about a picture of another size.
        """
        chosen = GenerationSettings(**settings)
        encoded = self.encode_image(image, detail=chosen.detail)
        if conversation is None:
            conversation = Conversation(encoded.original_size)
        if conversation.image_size != encoded.original_size:
            sizes = [f"{w} x {h}" for h, w in (conversation.image_size, encoded.original_size)]
            raise GromaError(
                "The conversation is about a picture of {} pixels, but this one has {}.".format(
                    *sizes
                )
            )
        return Chat(self, encoded, conversation, chosen)

    def policy(self, settings: GenerationSettings) -> SelectionPolicy:
        """The model's own thresholds, where the settings do not replace them."""
        policy = SelectionPolicy.of(self.config)
        if settings.score_threshold is not None:
            policy = replace(policy, score_threshold=settings.score_threshold)
        if settings.max_regions is not None:
            policy = replace(policy, limit=settings.max_regions)
        return policy


class Chat:
    """A conversation about one picture; made by `Groma.chat`.

    The settings are what `ask` and `stream` use where they are not told otherwise.
    """

    def __init__(
        self,
        groma: Groma,
        image: EncodedImage,
        conversation: Conversation,
        settings: GenerationSettings,
    ) -> None:
        self.image = image
        self.settings = settings
        self._groma = groma
        self._template = groma.template
        self._tokens = groma.template.tokens
        self._conversation = conversation
        self._embedder = PromptEmbedder(groma.model, image, self._tokens)
        self._decoder = PrefixDecoder(groma.model.language_model, groma._step)
        self._growing: tuple[_Request, ReplyBuilder] | None = None

    @property
    def conversation(self) -> Conversation:
        """Everything said so far; immutable, `to_dict` saves it."""
        return self._conversation

    @property
    def unfinished(self) -> Conversation:
        """What the conversation becomes if the answer that is being made ends here."""
        if self._growing is None:
            return self._conversation
        request, builder = self._growing
        return request.with_answer(request.reply(builder, "cancelled"), None)

    @property
    def num_cached_bytes(self) -> int:
        """Memory this conversation holds besides the encoded picture."""
        return self._decoder.num_bytes + self._embedder.num_bytes

    @property
    def num_tokens(self) -> int:
        """Tokens of prompt and answers that the language model holds."""
        return self._decoder.num_tokens

    def release(self) -> None:
        """Free that memory; the next question computes it again."""
        self._check_idle()
        self._decoder.release()
        self._embedder.release()

    def take_over(self, other: "Chat") -> None:
        """Read nothing again that another talk about the same picture has read."""
        self._decoder.take_over(other._decoder)

    def ask(
        self,
        text: str,
        boxes: Boxes = (),
        *,
        regions: Drawn = (),
        **settings: Unpack[SettingValues],
    ) -> GroundedReply:
        """Ask about the picture and wait for the whole answer.

        Args:
            text: the question; `[K]` means user region K, counted over the whole conversation in
                the order they were drawn.
            boxes: user regions drawn with this question, xyxy in pixels of the original picture;
                if the text mentions no region, these are mentioned at its end.
            regions: more of them, which may be points, scribbles, polygons or masks as well.
            settings: fields of `GenerationSettings`, instead of the conversation's own.

        Raises:
            GromaError: if the question is empty, too long or mentions a region that there is not,
                a region is wrong, or the conversation is too long.
        """
        return _last(self.stream(text, boxes, regions=regions, **settings))

    def stream(
        self,
        text: str,
        boxes: Boxes = (),
        stop: Callable[[], bool] | None = None,
        *,
        regions: Drawn = (),
        **settings: Unpack[SettingValues],
    ) -> Stream:
        """Ask, and see the answer grow; otherwise as `ask`, which joins this.

        `stop` is asked before every token whether to end here. Closing the generator ends the
        answer too; either way what was said so far is kept, marked "cancelled". Yields replies,
        each with more text or spans than the one before; the last is complete.
        """
        check_question(text, boxes, regions)
        drawn, settings_now = [*boxes, *regions], replace(self.settings, **settings)
        return self._answer(self._request(self._conversation, text, drawn, settings_now), stop)

    def regenerate(self, **settings: Unpack[SettingValues]) -> GroundedReply:
        """Answer the last question anew; settings as in `stream_again`."""
        return _last(self.stream_again(**settings))

    def edit(
        self, text: str, drawn: Drawn | None = None, **settings: Unpack[SettingValues]
    ) -> GroundedReply:
        """Replace the last question and answer the new one; arguments as in `stream_again`."""
        return _last(self.stream_again(text, drawn, **settings))

    def stream_again(
        self,
        text: str | None = None,
        drawn: Drawn | None = None,
        stop: Callable[[], bool] | None = None,
        **settings: Unpack[SettingValues],
    ) -> Stream:
        """Replace the last turn; it stays until the new answer is there.

        Args:
            text: the question instead of the last one; None keeps it.
            drawn: the user regions instead of those drawn with it; None keeps them.
            stop: see `stream`.
            settings: fields of `GenerationSettings`, instead of those of the last turn.

        Raises:
            GromaError: if there is no turn; see also `ask`.
        """
        before, last = self._conversation.without_last(), self._conversation.turns[-1]
        request = self._request(
            before,
            last.question if text is None else text,
            last.shapes if drawn is None else drawn,
            replace(last.settings, **settings),
        )
        return self._answer(request, stop)

    def say(self, text: str, drawn: Drawn, reply: GroundedReply) -> None:
        """Add a turn that was said elsewhere, without computing anything; raises as `ask`.

        `drawn` are the user regions of the question.
        """
        request = self._request(self._conversation, text, drawn, self.settings)
        self._conversation = request.with_answer(reply, None)

    def undo(self) -> Turn:
        """Forget the last turn, its user regions included, and return it.

        Raises `GromaError` if there is no turn.
        """
        self._check_idle()
        before, last = self._conversation.without_last(), self._conversation.turns[-1]
        self._conversation = before
        return last

    def make_masks(self, source: "PictureMasks | None" = None) -> Conversation:
        """Make the masks of all regions that answers mean, where they have none yet.

        Args:
            source: the picture as a maker sees it; None is the one that is kept with the encoded
                picture, see `Groma.with_masks`.

        Returns:
            The conversation, which has them from now on.

        Raises:
            GromaError: if the conversation is still answering, or there is no such source.
        """
        self._check_idle()
        source = source or self.image.masks
        if source is None:
            raise GromaError("There is nothing to make masks with; see --masks.")
        self._conversation = self._conversation.masked(source)
        return self._conversation

    def to_dict(self) -> dict[str, Any]:
        """The conversation, JSON-ready; `Conversation.from_dict` and `Groma.chat` continue it."""
        return self._conversation.to_dict()

    def _check_idle(self) -> None:
        if self._growing is not None:
            raise GromaError("This conversation is still answering; stop that answer first.")

    def _request(
        self, before: Conversation, text: str, drawn: Drawn, settings: GenerationSettings
    ) -> "_Request":
        """Everything that can be wrong with a question is found here, before any computing."""
        self._check_idle()
        check_question(text, drawn)
        text = clean_text(text)
        config, policy, template = self._groma.config, self._groma.policy(settings), self._template
        new = name_regions(before.regions, self.image, drawn, policy, config.max_regions)
        named = (*before.regions, *new)
        check_mentions(text, sum(region.user is not None for region in named))
        listed = list_regions(named, before.mentioned, policy)
        asked = question_pieces(template, text, before.regions, new, settings.grounding)
        prompt = template.prompt(before.exchanges(template), asked)
        ids = expand_placeholders(
            torch.tensor(prompt), torch.tensor(listed), self._tokens, config.num_image_tokens
        ).tolist()
        longest = config.text_config.max_position_embeddings
        if len(ids) >= longest:
            raise GromaError(
                f"The conversation is too long: it takes {len(ids)} tokens with this question, and "
                f"the model reads {longest}; please start a new one."
            )
        return _Request(
            asked_in=self._conversation,
            before=before,
            question=text,
            settings=settings,
            new=new,
            listed=tuple(listed),
            ids=tuple(ids),
            limit=min(settings.max_new_tokens, longest - len(ids)),
            adapter=self._groma.adapter,
        )

    def _answer(self, request: "_Request", stop: Callable[[], bool] | None) -> Stream:
        """Generate the answer and yield the reply whenever it has grown."""
        self._check_idle()
        if request.asked_in is not self._conversation:
            raise GromaError("The conversation went on since this question; please ask it again.")
        builder = ReplyBuilder(self._template.plain, self._tokens, request.regions)
        self._growing = request, builder
        shown = request.reply(builder, "streaming")
        finish: Finish = "cancelled"
        generated: list[int] = []
        try:
            for token, logits in self._generate(request):
                if stop is not None and stop():
                    break
                generated.append(token)
                builder.push(token, self._region_score(token, logits, request.listed))
                grown = request.reply(builder, "streaming")
                if grown != shown:
                    yield grown
                    shown = grown
            else:
                finish = "length" if len(generated) == request.limit else "stop"
        except GeneratorExit:
            # Closing the stream keeps what was said, like `stop`.
            self._conversation = request.with_answer(request.reply(builder, "cancelled"), None)
            raise
        finally:
            self._growing = None
        reply = request.reply(builder, finish)
        ids = None if finish == "cancelled" else tuple(generated)
        self._conversation = request.with_answer(reply, ids)
        yield reply

    def _generate(self, request: "_Request") -> Iterator[tuple[int, Tensor]]:
        """Tokens of the answer, and the (V,) logits each was chosen from."""
        ids, regions, eos = request.ids, request.regions, self._template.plain.eos
        in_order = self._groma.config.region_order != "score"
        grammar = GroundingGrammar(self._tokens, request.listed, eos, request.limit, in_order)
        keys = self._embedder.keys(ids, regions)
        logits = self._decoder.read(keys, partial(self._embedder.embed, ids, regions))
        return self._decoder.generate(logits, grammar, request.settings, request.limit, eos)

    def _region_score(self, token: int, logits: Tensor, listed: Sequence[int]) -> float:
        """Probability of a region token among the regions; 1.0 for any other token."""
        index = self._tokens.region_index(token)
        if index is None:
            return 1.0
        names = logits[[self._tokens.region(i) for i in listed]]
        return float(names.softmax(dim=0)[listed.index(index)])


@dataclass(frozen=True)
class _Request:
    """One question, ready for the language model."""

    asked_in: Conversation  # the conversation when the question was asked
    before: Conversation  # that part of it which the answer follows
    question: str  # as typed
    settings: GenerationSettings  # how to answer
    new: tuple[Region, ...]  # regions that get their names with this question
    listed: tuple[int, ...]  # ids of the regions the model is shown
    ids: tuple[int, ...]  # T tokens, all placeholders expanded
    limit: int  # most tokens of the answer
    adapter: str  # name of the adapter that answers, or ""

    @property
    def regions(self) -> tuple[Region, ...]:
        """Every region that has a name; row N is `<rN>`."""
        return (*self.before.regions, *self.new)

    def reply(self, builder: ReplyBuilder, finish: Finish) -> GroundedReply:
        """What the answer says so far."""
        size = self.before.image_size
        return GroundedReply(builder.text, builder.spans, size, finish, adapter=self.adapter)

    def with_answer(self, reply: GroundedReply, ids: tuple[int, ...] | None) -> Conversation:
        """The conversation that an answer makes, with its exact tokens where they are known."""
        return self.before.with_turn(Turn(self.question, self.new, self.settings, reply, ids))


def _last(stream: Stream) -> GroundedReply:
    *_, reply = stream
    return reply
