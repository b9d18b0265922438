// Boxes: geometry in picture pixels.

export const area = ([x1, y1, x2, y2]) => (x2 - x1) * (y2 - y1);
export const holds = ([x1, y1, x2, y2], [x, y]) => x1 <= x && x <= x2 && y1 <= y && y <= y2;
export const clamp = (value, low, high) => Math.min(Math.max(value, low), high);
export const round = (value) => Math.round(value * 10) / 10;

/** Whether two boxes are one, but for rounding. */
export const isSame = (a, b) => a.every((side, i) => Math.abs(side - b[i]) < 1);

/** Names of the region that a box shows: its own, and that of the proposal that it is as well. */
export const keysOf = ({ dataset: { key, twin } }) => [key, twin].filter(Boolean);

export function overlap(a, b) {
  const width = Math.min(a[2], b[2]) - Math.max(a[0], b[0]);
  const height = Math.min(a[3], b[3]) - Math.max(a[1], b[1]);
  const shared = Math.max(0, width) * Math.max(0, height);
  return shared / (area(a) + area(b) - shared);
}

/** The box between two corners, inside the picture. */
export function boxBetween([ax, ay], [bx, by], { width, height }) {
  const xs = [ax, bx].map((x) => round(clamp(x, 0, width))).sort((a, b) => a - b);
  const ys = [ay, by].map((y) => round(clamp(y, 0, height))).sort((a, b) => a - b);
  return [xs[0], ys[0], xs[1], ys[1]];
}

/** The box moved by (dx, dy), kept inside the picture. */
export function moved([x1, y1, x2, y2], dx, dy, { width, height }) {
  const x = clamp(dx, -x1, width - x2);
  const y = clamp(dy, -y1, height - y2);
  return [x1 + x, y1 + y, x2 + x, y2 + y].map(round);
}

/** The box with the edges that a handle names moved by (dx, dy). */
export function resized([x1, y1, x2, y2], handle, dx, dy, size) {
  if (handle.includes("w")) x1 += dx;
  if (handle.includes("e")) x2 += dx;
  if (handle.includes("n")) y1 += dy;
  if (handle.includes("s")) y2 += dy;
  return boxBetween([x1, y1], [x2, y2], size);
}

/** Of all proposals at a point that are at least half as good as the best, the smallest. */
export function proposalAt(proposals, point) {
  const here = proposals.filter((proposal) => holds(proposal.box, point));
  const best = Math.max(...here.map((proposal) => proposal.score));
  return smallest(here.filter((proposal) => proposal.score >= best / 2));
}

export function smallest(boxes) {
  return boxes.reduce((best, next) => (best && area(best.box) <= area(next.box) ? best : next), null);
}
