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

    `ids` are (T,) with at most one `<image>` and one `<region>`, in this order, `region_ids` (N,)
    the numbers of the regions listed. Returns (T',) ids; what stands elsewhere is untouched.
    """
    return expand_with_labels(ids, ids, region_ids, tokens, num_image_tokens)[0]


def expand_with_labels(
    ids: Tensor, labels: Tensor, region_ids: Tensor, tokens: TokenIds, num_image_tokens: int
) -> tuple[Tensor, Tensor]:
    """`expand_placeholders` for ids and their labels; inserted positions are not supervised.

    Returns (T',) ids and labels; raises `ValueError` if a placeholder occurs twice.
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
    """Replace `<refer_box>` or `<ground_box>` in (T,) ids or labels by names of regions, in order.

    `region_ids` are (K,) numbers N of `<rN>`. Returns a copy; without the placeholder it stays as
    it is. Raises `ValueError` if there are not as many placeholders as regions.
    """
    at = ids == tokens[placeholder]
    if int(at.sum()) not in (0, len(region_ids)):
        raise ValueError(
            f"{int(at.sum())} {placeholder} in the prompt, but {len(region_ids)} boxes given."
        )
    return ids.masked_scatter(at, region_ids.to(ids) + tokens.region(0))


def match_boxes(boxes: Tensor, regions: Tensor) -> Tensor:
    """(K,) indices of the (N, 4) regions of highest IoU, which stand for (K, 4) boxes; xyxy."""
    return pairwise_iou(boxes, regions).argmax(dim=1)


def splice(
    embeddings: Tensor,
    ids: Tensor,
    tokens: TokenIds,
    image_tokens: Tensor,
    region_tokens: Tensor,
    refer_tokens: Tensor,
) -> Tensor:
    """Write visual tokens over the (T, D) embeddings of their placeholders (paper 3.2).

    `ids` are (T,) expanded; (P, D) image, (N, D) region and (K, D) refer tokens go to `<image>`,
    `<region>` and `<refer_feat>`, in order. Returns a new tensor; raises `ValueError` if a kind of
    placeholder does not occur as often as it has tokens.
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
