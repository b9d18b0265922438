"""Names from labelled boxes, in closed form: which of a picture's regions show what has a label.

Ridge regression on what the image encoder sees of regions; how far a name can be trusted is told by
leaving out one picture after another, which takes no second fit.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from tqdm import tqdm

from groma.chat.chat import Groma
from groma.data.sample import GroundedSample
from groma.image import load_image
from groma.model.region_selection import SelectionPolicy, select_regions
from groma.model.taught_names import see
from groma.ops.boxes import pairwise_iou

_MOST_PICTURES = 60
_APART, _SAME = 0.3, 0.7
"""IoU with a labelled box from which a region shows some of the thing, and all of it."""
_SHOWS = 0.5
"""Of the way from the one to the other: IoU 0.5."""
_PENALTY = 0.3
_WAY = 0.4
"""Where a name begins, on the way from what looks most like it to the thing itself."""
_STEEPNESS = 6.0
_LEAST_GAP, _TYPICAL = 0.15, (0.3, 0.7)
"""Between the two; where they are nearer, one picture is too little to go by."""


@dataclass(frozen=True)
class _Seen:
    """The regions of all pictures.

    Attributes:
        features: (N, F) what is seen of each, see `see`.
        shows: (N, C) how much of it is each name's, from 0 to 1.
        tokens: (N, D) of the region encoder.
        owners: (N,) which picture it is of.
        proposed: (N,) whether it was proposed, not labelled.
    """

    features: Tensor
    shows: Tensor
    tokens: Tensor
    owners: Tensor
    proposed: Tensor


@torch.no_grad()
def teach_names(
    groma: Groma,
    labelled: Sequence[GroundedSample],
    names: Sequence[str],
    stop: Callable[[], bool] = lambda: False,
) -> bool:
    """Teach a model to recognise what is labelled; its language model still has to learn the words.

    Args:
        groma: whose `model.taught_names` is changed in place; it has room for `names` at its end.
        labelled: pictures in which all that has one of the names is labelled.
        names: what is taught.
        stop: asked now and then whether to give up.

    Returns:
        Whether it was done, and not stopped.

    Raises:
        GromaError: if a picture cannot be read.
    """
    seen = _look(groma, labelled, names, stop)
    taught = groma.model.taught_names
    assert taught is not None
    if seen is None:
        return False
    fit, left_out = _regress(seen)
    words = groma.model.get_input_embeddings()
    for column, name in enumerate(names):
        row = len(taught.bias) - len(names) + column
        start, scale = _begin(seen, left_out[:, column], column)
        taught.weight[row] = scale * fit[:-1, column]
        taught.bias[row] = scale * (fit[-1, column] - start)
        ids = groma.template.plain.encode(f" {name}")
        spelt = words(torch.tensor(ids, device=seen.tokens.device)).float().mean(dim=0)
        shows = seen.shows[:, column] >= _SHOWS
        usual = seen.tokens[shows].mean(dim=0) - seen.tokens[~shows].mean(dim=0)
        if groma.config.is_convolutional:
            taught.directions[row] = spelt  # as in its code, with nothing in its place
        else:
            # The name takes the place of what the model took the thing for, and counts as much.
            taught.directions[row] = spelt * usual.norm() / spelt.norm() - usual
    return True


def _look(
    groma: Groma,
    labelled: Sequence[GroundedSample],
    names: Sequence[str],
    stop: Callable[[], bool],
) -> _Seen | None:
    model, parts = groma.model, []
    policy = SelectionPolicy.of(model.config)
    ordered = sorted(labelled, key=lambda sample: not set(names) & set(sample.names))
    for owner, sample in enumerate(tqdm(ordered[:_MOST_PICTURES], desc="what it looks like")):
        if stop():
            return None
        image = groma.encode_image(load_image(sample.picture))
        proposals = image.proposals
        chosen = select_regions(proposals.boxes.float(), proposals.scores.float(), policy)
        proposed = proposals.boxes[chosen].float()
        true = torch.tensor(sample.boxes, dtype=torch.float32).reshape(-1, 4).to(proposed.device)
        boxes = torch.cat([proposed, true])
        parts.append(
            _Seen(
                see(image.feature_maps[1], boxes),
                _shows(boxes, true, sample.names, names),
                model.encode_regions(image, boxes).float(),
                torch.full((len(boxes),), owner, device=boxes.device),
                torch.arange(len(boxes), device=boxes.device) < len(proposed),
            )
        )
    columns = zip(
        *((p.features, p.shows, p.tokens, p.owners, p.proposed) for p in parts), strict=True
    )
    return _Seen(*map(torch.cat, columns))


def _shows(boxes: Tensor, true: Tensor, labels: Sequence[str], names: Sequence[str]) -> Tensor:
    """(N, C) how much boxes show of each name."""
    shows = boxes.new_zeros(len(boxes), len(names))
    for column, name in enumerate(names):
        rows = [row for row, label in enumerate(labels) if label == name]
        if rows:
            overlap = pairwise_iou(boxes, true[rows]).amax(dim=1)
            shows[:, column] = ((overlap - _APART) / (_SAME - _APART)).clamp(0, 1)
    return shows


def _regress(seen: _Seen) -> tuple[Tensor, Tensor]:
    """Ridge regression of what regions show on what is seen of them.

    Returns:
        (F + 1, C) weights, the constant last; and (N, C) what would be said of each region had its
        picture been left out.
    """
    count = len(seen.features)
    mean, wanted = seen.features.mean(dim=0), seen.shows.mean(dim=0)
    scale = seen.features.std(dim=0, unbiased=False) + 1e-6
    rows = ((seen.features - mean) / scale).double() / count**0.5
    targets = (seen.shows - wanted).double() / count**0.5
    gram = rows @ rows.mT
    eye = torch.eye(count, dtype=gram.dtype, device=gram.device)
    inverse = torch.linalg.inv(gram + _PENALTY * eye)
    hat = gram @ inverse
    off = targets - hat @ targets
    left_out = torch.empty_like(targets)
    for owner in seen.owners.unique():
        its = seen.owners == owner
        block = eye[its][:, its] - hat[its][:, its]
        left_out[its] = targets[its] - torch.linalg.solve(block, off[its])
    weights = (rows.mT @ (inverse @ targets)).float() / scale[:, None]
    constant = wanted - mean @ weights
    return torch.cat([weights, constant[None]]), left_out.float() * count**0.5 + wanted


def _begin(seen: _Seen, said: Tensor, column: int) -> tuple[float, float]:
    """Where a name begins to be said, and how steeply it rises from there."""
    shows, others = seen.shows[:, column], []
    things: list[Tensor] = []
    for owner in seen.owners.unique():
        its = (seen.owners == owner) & seen.proposed
        for group, chosen in ((things, shows >= _SHOWS), (others, shows == 0)):
            if (its & chosen).any():
                group.append(said[its & chosen].max())
    low, high = _TYPICAL
    if len(things) > 1 and others:
        measured = float(torch.stack(others).median()), float(torch.stack(things).median())
        if measured[1] - measured[0] >= _LEAST_GAP:
            low, high = measured
    return low + _WAY * (high - low), _STEEPNESS / (high - low)
