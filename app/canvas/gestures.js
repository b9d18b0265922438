// What pointers and keys do to shapes.

import { boxBetween, clamp, keysOf, resized, round } from "./boxes.js";
import { MOST_POINTS, boxOf, isNothing, kindOf, linesOf, penWidth, shifted, stretched } from "./shapes.js";

const MIN_DRAG = 5;
const FINGER = 22;
/** Points of a line nearer to each other than this share of the picture tell nothing more. */
const FINEST = 1 / 400;
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const TOOLS = { b: "box", p: "point", s: "scribble", l: "lasso" };

/** Where an event is, in pixels of the picture. */
export function pointOf({ image, size }, event) {
  const frame = image.getBoundingClientRect();
  const { width, height } = size();
  return [((event.clientX - frame.left) / frame.width) * width, ((event.clientY - frame.top) / frame.height) * height];
}

/** Draw, move, resize, choose and delete the shapes of a canvas. */
export function listenForGestures(canvas, zoom) {
  const { root, stage, image, layer, menu, local, size, drafts, numberOf, regions } = canvas;
  const { render, say, select, take, saveShapes, addShape, changeShape, deleteShape, undoStroke, ask, adopt, meantAt, tap } = canvas;
  const cursor = stage.querySelector(".groma-pen");
  /** Where keys draw, once they have been used for that. */
  let pen = null;

  const inside = ([x, y]) => [round(clamp(x, 0, size().width)), round(clamp(y, 0, size().height))];
  const selectedDraft = () => regions().find(({ key, isDraft }) => key === local.selected && isDraft);

  /** Whether a press at a point takes hold of the selected region rather than drawing. */
  function isHeld(selected, event, [x, y]) {
    if (!selected || event.target.closest("[data-key]")?.dataset.key !== selected.key) return false;
    if (local.tool === "box") return true;
    const near = (FINGER * size().width) / image.getBoundingClientRect().width;
    return local.tool === "point" && kindOf(selected.shape) === "point" && Math.hypot(x - selected.box[0], y - selected.box[1]) < near;
  }

  function startGesture(event) {
    if (event.button || !event.isPrimary || menu.contains(event.target)) return;
    event.preventDefault();
    const from = pointOf(canvas, event);
    const selected = selectedDraft();
    const handle = event.target.dataset.handle;
    const kind = handle ? "resize" : isHeld(selected, event, from) ? "move" : "draw";
    const own = handle ? null : local.grab?.(event);
    if (own?.old) local.selected = own.old.key;
    begin({ kind, handle, from, at: [event.clientX, event.clientY], old: selected, ...own });
    stage.setPointerCapture(event.pointerId);
  }

  /** Begin to draw, move or resize; a point is there at once. */
  function begin(gesture) {
    const strokes = gesture.kind === "draw" && local.tool === "scribble" ? gesture.old?.shape.scribble : undefined;
    const added = strokes ? { index: gesture.old.index, strokes } : {};
    local.gesture = { before: drafts(), line: [inside(gesture.from)], moved: false, ...gesture, ...added };
    local.hinted = null;
    showPen(null);
    if (gesture.kind === "draw" && local.tool === "point") {
      local.gesture.moved = true;
      drawOn(local.gesture, gesture.from);
    }
  }

  function continueGesture(event) {
    const gesture = local.gesture;
    if (!gesture) return hintProposal(event);
    gesture.moved ||= Math.hypot(event.clientX - gesture.at[0], event.clientY - gesture.at[1]) >= MIN_DRAG;
    // A fast hand is seen in fewer frames than it has points.
    event.getCoalescedEvents?.().forEach((one) => addToLine(gesture, pointOf(canvas, one)));
    goOn(gesture, pointOf(canvas, event));
  }

  function addToLine({ line, strokes = [] }, point) {
    const [x, y] = inside(point);
    if (Math.hypot(x - line.at(-1)[0], y - line.at(-1)[1]) < FINEST * Math.max(size().width, size().height)) return;
    if (line.length + strokes.flat().length < MOST_POINTS) line.push([x, y]);
  }

  function goOn(gesture, [x, y]) {
    if (gesture.kind === "draw") return drawOn(gesture, [x, y]);
    if (!gesture.moved) return;
    const { box, shape, index } = gesture.old;
    const [dx, dy] = [x - gesture.from[0], y - gesture.from[1]];
    changeShape(index, gesture.kind === "move" ? shifted(shape, dx, dy, size()) : resized(box, gesture.handle, dx, dy, size()));
  }

  function drawOn(gesture, point) {
    addToLine(gesture, point);
    if (!gesture.moved) return;
    const shape = shapeOf(gesture, inside(point));
    if (gesture.index === undefined) {
      gesture.index = drafts().length;
      saveShapes([...drafts(), shape]);
      local.selected = `u${numberOf(gesture.index)}`;
    }
    changeShape(gesture.index, shape);
    if (!Array.isArray(shape) && linesOf(shape).flat().length === MOST_POINTS) say("This is as long as a drawing can be.");
  }

  /** What the tool in hand makes of a line that has come to a point. */
  function shapeOf({ from, line, strokes = [] }, point) {
    if (local.tool === "point") return { point };
    if (local.tool === "lasso") return { polygon: line };
    if (local.tool === "scribble") return { scribble: [...strokes, line], width: penWidth(size()) };
    return boxBetween(from, point, size());
  }

  function endGesture() {
    const gesture = local.gesture;
    local.gesture = null;
    if (!gesture) return;
    if (!gesture.moved) return tap(gesture.from);
    const index = gesture.kind === "draw" ? gesture.index : gesture.old.index;
    if (drafts()[index] && isNothing(drafts()[index])) return deleteShape(index);
    render();
    layer.querySelector(".selected")?.focus({ preventScroll: true });
  }

  /** As if it had not begun. */
  function dropGesture() {
    if (!local.gesture) return;
    saveShapes(local.gesture.before);
    local.gesture = null;
    showPen(null);
    select(null);
  }

  /** Outline what a click would take. */
  function hintProposal(event) {
    if (local.tool !== "box" || event.pointerType !== "mouse" || menu.contains(event.target)) return;
    const hinted = meantAt(pointOf(canvas, event)).proposal;
    if (hinted?.key === local.hinted?.key) return;
    local.hinted = hinted;
    render();
  }

  function leaveStage() {
    if (!local.hinted) return;
    local.hinted = null;
    render();
  }

  /** Keys that mean the same everywhere on the canvas. */
  function pressToolKey(event) {
    const { key, ctrlKey, metaKey, altKey } = event;
    if (event.target.matches("input, select, textarea")) return;
    const tool = TOOLS[key.toLowerCase()];
    if (ctrlKey || metaKey) {
      if (key !== "z" || local.gesture) return;
      undoStroke();
    } else if (tool && !altKey && root.querySelector(`[data-tool=${tool}]`)) {
      dropGesture();
      take(tool);
      stage.focus({ preventScroll: true });
    } else return;
    event.preventDefault();
  }

  function pressKey(event) {
    if (menu.contains(event.target) || event.ctrlKey || event.metaKey) return;
    const isHandled = event.target === stage ? pressOnStage(event) : pressOnRegion(event);
    if (isHandled !== false) event.preventDefault();
  }

  function pressOnStage(event) {
    const arrow = ARROWS[event.key];
    if (event.key === "Escape") return local.gesture ? dropGesture() : select(null);
    if (local.tool === "box") {
      if (event.key === "Enter") return addCentralBox();
      return arrow && zoom.isZoomed() ? zoom.pan(-40 * arrow[0], -40 * arrow[1]) : false;
    }
    if (arrow) return movePen(arrow, event);
    return event.key === "Enter" || event.key === " " ? pressPen() : false;
  }

  function pressOnRegion(event) {
    const key = keysOf(event.target)[0];
    const region = regions().find((one) => one.key === key);
    if (event.key === "Escape") {
      select(null);
      return stage.focus();
    }
    if (event.key === "Enter") return region ? ask(key) : adopt(key);
    if (!region?.isDraft) return false;
    if (ARROWS[event.key]) return push(region, ARROWS[event.key], event);
    return ["Delete", "Backspace"].includes(event.key) ? deleteShape(region.index) : false;
  }

  const stepOf = ({ altKey }) => (altKey ? 1 : Math.max(1, Math.max(size().width, size().height) / 100));

  /** Show where keys draw, or nothing. */
  function showPen(point) {
    pen = point;
    cursor.hidden = !point;
    if (!point) return;
    cursor.style.left = `${(100 * point[0]) / size().width}%`;
    cursor.style.top = `${(100 * point[1]) / size().height}%`;
    cursor.classList.toggle("down", Boolean(local.gesture));
    zoom.reveal(cursor);
  }

  function movePen([right, down], event) {
    const [x, y] = pen || [size().width / 2, size().height / 2];
    const point = inside([x + right * stepOf(event), y + down * stepOf(event)]);
    if (local.gesture) {
      local.gesture.moved = true;
      goOn(local.gesture, point);
    }
    showPen(point);
  }

  /** Put the pen down, or lift it; a point needs no more than that. */
  function pressPen() {
    const point = pen || [size().width / 2, size().height / 2];
    if (!local.gesture) begin({ kind: "draw", from: point, old: selectedDraft() });
    else if (local.gesture.moved) endGesture();
    else dropGesture();
    if (local.tool === "point") return endGesture();
    showPen(point);
    stage.focus({ preventScroll: true });
  }

  function addCentralBox() {
    const { width, height } = size();
    addShape([0.375 * width, 0.375 * height, 0.625 * width, 0.625 * height].map(round));
  }

  function push(region, [right, down], event) {
    const [dx, dy] = [right * stepOf(event), down * stepOf(event)];
    const shape = (event.shiftKey ? stretched : shifted)(region.shape, dx, dy, size());
    const [x1, y1, x2, y2] = boxOf(shape);
    if (!Array.isArray(shape) || (x2 - x1 >= 1 && y2 - y1 >= 1)) changeShape(region.index, shape);
  }

  const handlers = {
    pointerdown: startGesture, pointermove: continueGesture, pointerup: endGesture, pointercancel: dropGesture,
    pointerleave: leaveStage, keydown: pressKey,
  };
  Object.entries(handlers).forEach(([name, handle]) => stage.addEventListener(name, handle));
  root.addEventListener("keydown", pressToolKey);
  zoom.onPinch(dropGesture);
}
