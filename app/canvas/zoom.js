// A closer look at the picture: with a wheel, two fingers, keys or buttons.

import { clamp } from "./boxes.js";

const MOST = 8;
const STEP = 1.5;
const WHEEL = 300;
const KEYS = { "+": STEP, "=": STEP, "-": 1 / STEP, 0: 0 };

/** Let a canvas be zoomed and panned. */
export function zoomable({ root, view, stage, layer }, drawAgain) {
  /** How much larger than whole, and the part of the picture that is left of and above what is seen. */
  let [zoom, x, y] = [1, 0, 0];
  let pinched = () => {};
  const fingers = new Map();

  function show() {
    const most = 1 - 1 / zoom;
    [x, y] = [clamp(x, 0, most), clamp(y, 0, most)];
    view.classList.toggle("zoomed", zoom > 1);
    Object.entries({ "--zoom": zoom, "--x": x, "--y": y }).forEach(([name, value]) => stage.style.setProperty(name, value));
    const shown = root.querySelector("[data-do=zoom-whole]");
    shown.textContent = `${Math.round(100 * zoom)} %`;
    drawAgain();
  }

  /** Larger by a factor, with what is at a place of the page staying there; 0 is the whole picture. */
  function zoomBy(factor, place) {
    const frame = view.getBoundingClientRect();
    const [across, down] = place ? [(place[0] - frame.left) / frame.width, (place[1] - frame.top) / frame.height] : [0.5, 0.5];
    const before = zoom;
    zoom = clamp(zoom * factor, 1, MOST);
    x += across / before - across / zoom;
    y += down / before - down / zoom;
    show();
  }

  /** Move the picture by pixels of the page. */
  function pan(dx, dy) {
    const { width, height } = view.getBoundingClientRect();
    x -= dx / width / zoom;
    y -= dy / height / zoom;
    show();
  }

  /** Bring something on the stage into sight. */
  function reveal(element) {
    if (zoom === 1) return;
    const [frame, box] = [view, element].map((one) => one.getBoundingClientRect());
    const off = (low, high, from, to) => (high - low > to - from ? 0 : Math.max(from - low, 0) - Math.max(high - to, 0));
    const [dx, dy] = [off(box.left, box.right, frame.left, frame.right), off(box.top, box.bottom, frame.top, frame.bottom)];
    if (dx || dy) pan(dx, dy);
  }

  function turnWheel(event) {
    if (event.ctrlKey || event.metaKey) zoomBy(Math.exp(-event.deltaY / WHEEL), [event.clientX, event.clientY]);
    else if (zoom > 1) pan(-event.deltaX, -event.deltaY);
    else return;
    event.preventDefault();
  }

  function measure() {
    const [[ax, ay], [bx, by]] = fingers.values();
    return { middle: [(ax + bx) / 2, (ay + by) / 2], apart: Math.hypot(ax - bx, ay - by) };
  }

  function moveFinger(event) {
    if (!fingers.has(event.pointerId)) return;
    const before = fingers.size === 2 && measure();
    fingers.set(event.pointerId, [event.clientX, event.clientY]);
    if (!before) return;
    const { middle, apart } = measure();
    zoomBy(apart / before.apart, before.middle);
    pan(middle[0] - before.middle[0], middle[1] - before.middle[1]);
  }

  stage.addEventListener("pointerdown", (event) => {
    if (event.pointerType !== "touch" || fingers.size === 2) return;
    fingers.set(event.pointerId, [event.clientX, event.clientY]);
    if (fingers.size === 2) pinched();
  });
  stage.addEventListener("pointermove", moveFinger);
  ["pointerup", "pointercancel"].forEach((name) => stage.addEventListener(name, ({ pointerId }) => fingers.delete(pointerId)));
  view.addEventListener("wheel", turnWheel, { passive: false });
  layer.addEventListener("focusin", ({ target }) => reveal(target));
  root.addEventListener("keydown", (event) => {
    const factor = KEYS[event.key];
    if (factor === undefined || event.ctrlKey || event.metaKey || event.target.matches("input, textarea, select")) return;
    zoomBy(factor);
    event.preventDefault();
  });
  return { zoomBy, pan, reveal, isZoomed: () => zoom > 1, onPinch: (act) => (pinched = act) };
}
