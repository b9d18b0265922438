// Shapes: what people draw, in picture pixels. A box is [x1, y1, x2, y2]; all others are objects named by what they hold.

import { moved, resized, round } from "./boxes.js";

const KINDS = ["point", "scribble", "polygon", "mask"];
const NAMES = { box: "box", point: "point", scribble: "scribble", polygon: "lasso", mask: "mask" };

export const kindOf = (shape) => (Array.isArray(shape) ? "box" : KINDS.find((kind) => kind in shape));

/** What people call a shape. */
export const nameOf = (shape) => NAMES[kindOf(shape)];

/** Of one shape; the server takes no more. */
export const MOST_POINTS = 2000;

/** Width of a scribble's strokes where it has none. */
export const penWidth = ({ width, height }) => Math.max(1, round(Math.min(width, height) / 50));

/** The lines that a shape was drawn with: of a scribble its strokes, of a lasso its outline. */
export const linesOf = (shape) => shape.scribble || [shape.polygon || [shape.point]];

/** The box around a shape. */
export function boxOf(shape) {
  if (Array.isArray(shape)) return shape;
  const points = linesOf(shape).flat();
  const sides = [0, 1].map((axis) => points.map((point) => point[axis]));
  return [...sides.map((values) => Math.min(...values)), ...sides.map((values) => Math.max(...values))];
}

/** The shape moved by (dx, dy), kept inside the picture. */
export function shifted(shape, dx, dy, size) {
  if (Array.isArray(shape)) return moved(shape, dx, dy, size);
  const box = boxOf(shape);
  const [x, y] = moved(box, dx, dy, size);
  const shift = (line) => line.map(([left, top]) => [round(left + x - box[0]), round(top + y - box[1])]);
  if (shape.point) return { point: shift([shape.point])[0] };
  return shape.polygon ? { polygon: shift(shape.polygon) } : { ...shape, scribble: shape.scribble.map(shift) };
}

/** The shape with its lower right corner moved by (dx, dy); only a box can be another size. */
export const stretched = (shape, dx, dy, size) => (Array.isArray(shape) ? resized(shape, "se", dx, dy, size) : shape);

/** Whether there is too little of a shape to mean anything. */
export function isNothing(shape) {
  const [x1, y1, x2, y2] = boxOf(shape);
  if (shape.polygon) return shape.polygon.length < 3 || x2 - x1 < 1 || y2 - y1 < 1;
  return Array.isArray(shape) && (x2 - x1 < 1 || y2 - y1 < 1);
}

const draw = (line) => `M${line.map((point) => point.join(" ")).join("L")}${line.length > 1 ? "" : "h.01"}`;
const enclose = (lines) => lines.map((line) => `${draw(line)}Z`).join("");

/** What a region covers, as a path: its mask where there is one, what was drawn, or its box. */
export function pathOf({ polygons, shape, box: [x1, y1, x2, y2] }) {
  if (polygons) return enclose(polygons);
  if (shape?.polygon) return enclose([shape.polygon]);
  if (shape?.scribble) return shape.scribble.map(draw).join("");
  return `M${x1} ${y1}H${x2}V${y2}H${x1}Z`;
}
