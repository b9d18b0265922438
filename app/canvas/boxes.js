// Boxes: geometry in picture pixels, and the elements that show them.

const LABEL_PLACES = ["above", "inside", "above end", "inside end", "below", "below end"];
const HANDLES = ["nw", "n", "ne", "e", "se", "s", "sw", "w"];

export const area = ([x1, y1, x2, y2]) => (x2 - x1) * (y2 - y1);
export const holds = ([x1, y1, x2, y2], [x, y]) => x1 <= x && x <= x2 && y1 <= y && y <= y2;
const clamp = (value, low, high) => Math.min(Math.max(value, low), high);
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

/** A box on the stage; `region` has key, twin, box, colour, ink, classes, text and name. */
export function boxElement(region, { width, height }, isSelected) {
  const [x1, y1, x2, y2] = region.box;
  const element = document.createElement("div");
  element.className = `groma-box ${region.classes}`;
  element.dataset.key = region.key;
  if (region.twin) element.dataset.twin = region.twin;
  element.tabIndex = 0;
  element.setAttribute("role", "button");
  element.setAttribute("aria-label", region.name);
  element.style.cssText = `left: ${(100 * x1) / width}%; top: ${(100 * y1) / height}%;
    width: ${(100 * (x2 - x1)) / width}%; height: ${(100 * (y2 - y1)) / height}%;
    --colour: ${region.colour}; --ink: ${region.ink || "#fff"}`;
  if (region.text) element.append(labelElement(region));
  if (isSelected && region.isDraft) HANDLES.forEach((name) => element.append(handleElement(name)));
  return element;
}

/** Put labels where each covers no other one; where there is no room, it waits for a hover. */
export function placeLabels(layer, which = ".groma-label") {
  const stage = layer.getBoundingClientRect();
  const others = [...layer.querySelectorAll(`.groma-label:not(${which})`)].filter((label) => label.offsetWidth);
  const taken = others.map((label) => label.getBoundingClientRect());
  const collides = (a, b) => a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom;
  const fits = (label) =>
    label.left >= stage.left - 4 && label.right <= stage.right + 4 && label.top >= stage.top - 4 &&
    label.bottom <= stage.bottom + 4 && !taken.some((other) => collides(label, other));
  // Small boxes come last in the layer and choose first.
  [...layer.querySelectorAll(which)].reverse().forEach((label) => {
    delete label.dataset.place; // one that had no room is measured anew
    if (!label.offsetWidth) return;
    const place = LABEL_PLACES.find((one) => {
      label.dataset.place = one;
      return fits(label.getBoundingClientRect());
    });
    label.dataset.place = place || "inside crowded";
    if (place) taken.push(label.getBoundingClientRect());
  });
}

function labelElement(region) {
  const label = document.createElement("span");
  label.className = "groma-label";
  label.textContent = region.text;
  if (region.score) {
    const score = document.createElement("span");
    score.className = "groma-score";
    score.textContent = ` ${region.score}`;
    label.append(score);
  }
  return label;
}

function handleElement(name) {
  const handle = document.createElement("i");
  handle.dataset.handle = name;
  return handle;
}

/** Darken everything but some boxes. */
export function drawShade(svg, boxes, { width, height }) {
  svg.replaceChildren();
  if (!boxes.length) return;
  const holes = boxes.map(([x1, y1, x2, y2]) => svgRect(x1 / width, y1 / height, x2 / width, y2 / height));
  const mask = svgElement("mask", { id: "groma-shade-mask" });
  holes.forEach((hole) => hole.setAttribute("fill", "black"));
  mask.append(svgRect(0, 0, 1, 1, { fill: "white" }), ...holes);
  svg.append(mask, svgRect(0, 0, 1, 1, { mask: "url(#groma-shade-mask)" }));
}

function svgRect(x1, y1, x2, y2, attributes = {}) {
  return svgElement("rect", { x: x1, y: y1, width: x2 - x1, height: y2 - y1, ...attributes });
}

function svgElement(name, attributes) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  Object.entries(attributes).forEach(([key, value]) => made.setAttribute(key, value));
  return made;
}
