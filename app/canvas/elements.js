// The elements that show regions on the stage.

import { kindOf, pathOf, penWidth } from "./shapes.js";

const LABEL_PLACES = ["above", "inside", "above end", "inside end", "below", "below end"];
const HANDLES = ["nw", "n", "ne", "e", "se", "s", "sw", "w"];

/** A region on the stage; it has key, twin, box, shape, polygons, colour, ink, classes, text and name. */
export function boxElement(region, { width, height }, isSelected) {
  const [x1, y1, x2, y2] = region.box;
  const element = document.createElement("div");
  const kind = isOutlined(region) ? "outlined" : kindOf(region.shape || region.box);
  const isBare = kind === "point" && x1 === x2;
  element.className = `groma-box ${region.classes} ${isBare ? "bare" : kind}`;
  element.dataset.key = region.key;
  if (region.twin) element.dataset.twin = region.twin;
  element.tabIndex = 0;
  element.setAttribute("role", "button");
  element.setAttribute("aria-label", region.name);
  element.style.cssText = `left: ${(100 * x1) / width}%; top: ${(100 * y1) / height}%;
    width: ${(100 * (x2 - x1)) / width}%; height: ${(100 * (y2 - y1)) / height}%;
    --colour: ${region.colour}; --ink: ${region.ink || "#fff"}`;
  if (region.text) element.append(labelElement(region));
  if (kind === "point") element.append(dotElement(region));
  if (isSelected && region.isDraft && kind === "box") HANDLES.forEach((name) => element.append(handleElement(name)));
  return element;
}

/** Put labels where each covers no other one; where there is no room, it waits for a hover. */
export function placeLabels(layer, which = ".groma-label") {
  const stage = layer.closest(".groma-view").getBoundingClientRect();
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

/** The point that was drawn, in the box of the thing that it means as soon as that is known. */
function dotElement({ shape: { point }, box: [x1, y1, x2, y2] }) {
  const dot = document.createElement("i");
  dot.className = "groma-dot";
  dot.style.left = `${(100 * (point[0] - x1)) / (x2 - x1 || 1)}%`;
  dot.style.top = `${(100 * (point[1] - y1)) / (y2 - y1 || 1)}%`;
  return dot;
}

function handleElement(name) {
  const handle = document.createElement("i");
  handle.dataset.handle = name;
  return handle;
}

/** Darken everything but some regions. */
export function drawShade(svg, regions, size) {
  const { width, height } = size;
  svg.replaceChildren();
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  if (!regions.length) return;
  const holes = regions.map((region) => svgElement("path", { d: pathOf(region), ...penOf(region, size), stroke: "black" }));
  const mask = svgElement("mask", { id: "groma-shade-mask" });
  mask.append(svgElement("rect", { width, height, fill: "white" }), ...holes);
  svg.append(mask, svgElement("rect", { width, height, mask: "url(#groma-shade-mask)" }));
}

/** Draw what no box can show: strokes, lassos and the contours of masks. */
export function drawOutlines(svg, regions, size) {
  svg.setAttribute("viewBox", `0 0 ${size.width} ${size.height}`);
  svg.replaceChildren(...regions.filter(isOutlined).map((region) => {
    const path = svgElement("path", { d: pathOf(region), class: region.shape?.scribble && !region.polygons ? "stroke" : "contour", ...penOf(region, size) });
    path.classList.toggle("away", Boolean(region.isAway));
    path.dataset.key = region.key;
    if (region.twin) path.dataset.twin = region.twin;
    path.style.setProperty("--colour", region.colour);
    return path;
  }));
}

const isOutlined = ({ polygons, shape }) => Boolean(polygons || shape?.scribble || shape?.polygon);

/** How a path is drawn: a scribble with the width of its strokes. */
const penOf = ({ polygons, shape }, size) => (shape?.scribble && !polygons ? { fill: "none", "stroke-width": shape.width || penWidth(size) } : { fill: "black" });

function svgElement(name, attributes) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  Object.entries(attributes).forEach(([key, value]) => made.setAttribute(key, value));
  return made;
}
