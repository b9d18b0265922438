"""Puts image, region and refer tokens into the sequence of embeddings (paper 3.2)."""

import torch
from torch import Tensor

from groma.ops.boxes import pairwise_iou
from groma.tokens import IMAGE, REFER_FEATURE, REGION, TokenIds
from groma.types import IGNORED


def expand_placeholders(
    ids: Tensor, region_ids: Tensor, tokens: TokenIds, num_image_tokens: int
) -> Tensor:
    """Make room for every visual token: `<image>` xP and `<r_a><region><r_b><region>` ....

    Args:
        ids: (T,) with at most one `<image>` and one `<region>`, in this order.
        region_ids: (N,) numbers of the regions listed, in the order of the list.
        tokens: ids of the new tokens.
        num_image_tokens: P.

    Returns:
        (T',) ids; what `ids` holds elsewhere is untouched.
    """
    return expand_with_labels(ids, ids, region_ids, tokens, num_image_tokens)[0]


def expand_with_labels(
    ids: Tensor,
    labels: Tensor,
    region_ids: Tensor,
    tokens: TokenIds,
    num_image_tokens: int,
) -> tuple[Tensor, Tensor]:
    """`expand_placeholders` for ids and their labels; inserted positions are not supervised.

    Returns:
        (T',) ids and (T',) labels.

    Raises:
        ValueError: if a placeholder occurs twice.
    """
    # A name stands before its feature, so that the model can copy it when it points there.
    names = region_ids.to(ids) + tokens.region(0)
    listed = torch.stack([names, torch.full_like(names, tokens[REGION])], dim=1).flatten()
    image = ids.new_full((num_image_tokens,), tokens[IMAGE])
    for placeholder, insertion in ((IMAGE, image), (REGION, listed)):
        at = (ids == tokens[placeholder]).nonzero().flatten().tolist()
        if len(at) > 1:
            raise ValueError(f"A prompt holds {placeholder} at most once, found {len(at)}.")
        for i in at:
            ids = torch.cat([ids[:i], insertion, ids[i + 1 :]])
            unsupervised = labels.new_full((len(insertion),), IGNORED)
            labels = torch.cat([labels[:i], unsupervised, labels[i + 1 :]])
    return ids, labels


def name_boxes(ids: Tensor, placeholder: str, region_ids: Tensor, tokens: TokenIds) -> Tensor:
    """Replace box placeholders by the names of their regions, in order.

    Args:
        ids: (T,) token ids or labels.
        placeholder: `<refer_box>` or `<ground_box>`.
        region_ids: (K,) numbers N of `<rN>`.
        tokens: ids of the new tokens.

    Returns:
        (T,) a copy. A prompt without the placeholder stays as it is.

    Raises:
        ValueError: if there are not as many placeholders as regions.
    """
    at = ids == tokens[placeholder]
    if int(at.sum()) not in (0, len(region_ids)):
        raise ValueError(
            f"{int(at.sum())} {placeholder} in the prompt, but {len(region_ids)} boxes given."
        )
    return ids.masked_scatter(at, region_ids.to(ids) + tokens.region(0))


def match_boxes(boxes: Tensor, regions: Tensor) -> Tensor:
    """The region that stands for each given box: the one with the highest IoU.

    Args:
        boxes: (K, 4) xyxy.
        regions: (N, 4) xyxy in the same frame.

    Returns:
        (K,) indices into N.
    """
    return pairwise_iou(boxes, regions).argmax(dim=1)


def splice(
    embeddings: Tensor,
    ids: Tensor,
    tokens: TokenIds,
    image_tokens: Tensor,
    region_tokens: Tensor,
    refer_tokens: Tensor,
) -> Tensor:
    """Write visual tokens over the embeddings of their placeholders (paper 3.2).

    Args:
        embeddings: (T, D) word embeddings of `ids`.
        ids: (T,) expanded ids.
        tokens: ids of the new tokens.
        image_tokens: (P, D) for the `<image>` positions, in order.
        region_tokens: (N, D) for the `<region>` positions, in order.
        refer_tokens: (K, D) for the `<refer_feat>` positions, in order.

    Returns:
        (T, D) a new tensor.

    Raises:
        ValueError: if a kind of placeholder does not occur as often as it has tokens.
    """
    # A masked assignment, not an edit of the caller's ids: upstream writes into its input.
    visual = {IMAGE: image_tokens, REGION: region_tokens, REFER_FEATURE: refer_tokens}
    for placeholder, features in visual.items():
        at = ids == tokens[placeholder]
        if int(at.sum()) not in (0, len(features)):
            raise ValueError(
                f"{int(at.sum())} {placeholder} in the prompt, but {len(features)} tokens for it."
            )
        embeddings = embeddings.masked_scatter(at[:, None], features.to(embeddings))
    return embeddings
