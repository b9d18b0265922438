// What pointers and keys do to boxes.

import { area, boxBetween, holds, keysOf, moved, proposalAt, resized, round, smallest } from "./boxes.js";

const MIN_DRAG = 5;
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

/** Where an event is, in pixels of the picture. */
export function pointOf({ image, size }, event) {
  const frame = image.getBoundingClientRect();
  const { width, height } = size();
  return [((event.clientX - frame.left) / frame.width) * width, ((event.clientY - frame.top) / frame.height) * height];
}

/** Draw, move, resize, choose and delete the boxes of a canvas. */
export function listenForGestures(canvas) {
  const { stage, layer, menu, local, size, drafts, numberOf, regions, freeProposals } = canvas;
  const { render, select, saveBoxes, addBox, changeBox, deleteBox, ask, adopt, tap } = canvas;

  function startGesture(event) {
    if (event.button || !event.isPrimary || menu.contains(event.target)) return;
    event.preventDefault();
    const selected = regions().find(({ key, isDraft }) => key === local.selected && isDraft);
    const handle = event.target.dataset.handle;
    const inside = selected && event.target.closest("[data-key]")?.dataset.key === selected.key;
    const kind = handle ? "resize" : inside ? "move" : "draw";
    const own = handle ? null : local.grab?.(event);
    if (own?.old) local.selected = own.old.key;
    local.gesture = { kind, handle, from: pointOf(canvas, event), at: [event.clientX, event.clientY], old: selected, moved: false, ...own };
    local.hinted = null;
    stage.setPointerCapture(event.pointerId);
  }

  function continueGesture(event) {
    const gesture = local.gesture;
    if (!gesture) return hintProposal(event);
    const [x, y] = pointOf(canvas, event);
    const [dx, dy] = [x - gesture.from[0], y - gesture.from[1]];
    gesture.moved ||= Math.hypot(event.clientX - gesture.at[0], event.clientY - gesture.at[1]) >= MIN_DRAG;
    if (!gesture.moved) return;
    if (gesture.kind === "draw") return drawNew(gesture, [x, y]);
    const { box, index } = gesture.old;
    changeBox(index, gesture.kind === "move" ? moved(box, dx, dy, size()) : resized(box, gesture.handle, dx, dy, size()));
  }

  function drawNew(gesture, point) {
    const box = boxBetween(gesture.from, point, size());
    if (gesture.index === undefined) {
      gesture.index = drafts().length;
      saveBoxes([...drafts(), box]);
      local.selected = `u${numberOf(gesture.index)}`;
    }
    changeBox(gesture.index, box);
  }

  function endGesture() {
    const gesture = local.gesture;
    local.gesture = null;
    if (!gesture) return;
    if (!gesture.moved) return tap(gesture.from);
    const box = drafts()[gesture.kind === "draw" ? gesture.index : gesture.old.index];
    if (box && (box[2] - box[0] < 1 || box[3] - box[1] < 1)) return deleteBox(drafts().indexOf(box));
    render();
    layer.querySelector(".selected")?.focus({ preventScroll: true });
  }

  /** Outline what a click would take. */
  function hintProposal(event) {
    if (event.pointerType !== "mouse" || menu.contains(event.target)) return;
    const point = pointOf(canvas, event);
    const region = smallest(regions().filter(({ box }) => holds(box, point)));
    const proposal = proposalAt(freeProposals(), point);
    const hinted = proposal && !(region && area(region.box) <= area(proposal.box)) ? proposal : null;
    if (hinted?.key === local.hinted?.key) return;
    local.hinted = hinted;
    render();
  }

  function leaveStage() {
    if (!local.hinted) return;
    local.hinted = null;
    render();
  }

  function pressKey(event) {
    if (menu.contains(event.target)) return;
    const key = event.target.dataset.key && keysOf(event.target)[0];
    const region = regions().find((one) => one.key === key);
    if (event.key === "Escape") {
      select(null);
      stage.focus();
    } else if (event.key === "Enter") {
      if (!key) addCentralBox();
      else if (region) ask(key);
      else adopt(key);
    } else if (region?.isDraft && ARROWS[event.key]) {
      pushBox(region, ARROWS[event.key], event);
    } else if (region?.isDraft && ["Delete", "Backspace"].includes(event.key)) {
      deleteBox(region.index);
    } else return;
    event.preventDefault();
  }

  function addCentralBox() {
    const { width, height } = size();
    addBox([0.375 * width, 0.375 * height, 0.625 * width, 0.625 * height].map(round));
  }

  function pushBox(region, [right, down], { shiftKey, altKey }) {
    const step = altKey ? 1 : Math.max(1, Math.max(size().width, size().height) / 100);
    const [dx, dy] = [right * step, down * step];
    const box = shiftKey ? resized(region.box, "se", dx, dy, size()) : moved(region.box, dx, dy, size());
    if (box[2] - box[0] >= 1 && box[3] - box[1] >= 1) changeBox(region.index, box);
  }

  stage.addEventListener("pointerdown", startGesture);
  stage.addEventListener("pointermove", continueGesture);
  stage.addEventListener("pointerup", endGesture);
  stage.addEventListener("pointercancel", endGesture);
  stage.addEventListener("pointerleave", leaveStage);
  stage.addEventListener("keydown", pressKey);
}
