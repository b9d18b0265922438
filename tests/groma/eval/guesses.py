"""Made-up truth and answers in which everything happens that a scorer must get right."""

import random

KINDS = ("nothing", "missing", "ties", "crowded", "exact")
SIZE = (240, 320)


def random_box(dice, largest=150):
    width, height = dice.randint(4, largest), dice.randint(4, largest)
    left, top = dice.randint(0, SIZE[1] - 4), dice.randint(0, SIZE[0] - 4)
    return [left, top, min(width, SIZE[1] - left), min(height, SIZE[0] - top)]


def truth(seed, pictures=12, classes=4, crowds=True):
    """A COCO-like file with empty pictures, crowds, and boxes that are the same."""
    dice = random.Random(seed)
    annotations = []
    for picture in range(1, pictures + 1):
        for _ in range(dice.randint(0, 7)):
            box = random_box(dice)
            for _ in range(2 if dice.random() < 0.1 else 1):
                annotations.append(
                    {
                        "id": len(annotations) + 1,
                        "image_id": picture,
                        "category_id": dice.randint(1, classes),
                        "bbox": box,
                        "area": box[2] * box[3] * dice.choice([1, 0.6]),
                        "iscrowd": int(crowds and dice.random() < 0.1),
                    }
                )
    height, width = SIZE
    images = [
        {
            **{"id": i, "file_name": f"{i}.jpg", "height": height, "width": width},
            **{"neg_category_ids": [], "not_exhaustive_category_ids": []},
        }
        for i in range(pictures, 0, -1)
    ]
    categories = [
        {"id": i, "name": f"thing_{i}", "frequency": "rcf"[i % 3]} for i in range(1, classes + 1)
    ]
    return {"images": images, "annotations": annotations, "categories": categories}


def guess(kind, boxes, seed):
    """Boxes xyxy and scores for one picture, or None where there is no answer at all.

    Args:
        kind: one of `KINDS`.
        boxes: the true ones, xywh.
        seed: equal seeds give equal answers.
    """
    dice = random.Random(f"{kind}/{seed}")
    if kind == "nothing" or (kind == "missing" and dice.random() < 0.5):
        return None if kind == "missing" else ([], [])
    repeats = 4 if kind == "crowded" else 1
    spread = 0 if kind == "exact" else 12
    found = [_shifted(box, dice, spread) for box in boxes for _ in range(dice.randint(0, repeats))]
    found += [random_box(dice) for _ in range(dice.randint(0, 3))]
    if kind == "exact":
        found = [list(box) for box in boxes]
    scores = [dice.choice([0.2, 0.5]) if kind == "ties" else dice.random() for _ in found]
    return [[x, y, x + w, y + h] for x, y, w, h in found], scores


def _shifted(box, dice, spread):
    left, top, width, height = (value + dice.randint(-spread, spread) for value in box)
    return [left, top, max(width, 1), max(height, 1)]
