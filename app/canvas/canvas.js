// The canvas: everything it shows follows from `props`, what the server knows, and `local`.

import { area, holds, isSame, keysOf, overlap, proposalAt, smallest } from "./boxes.js";
import { boxElement, drawOutlines, drawShade, placeLabels } from "./elements.js";
import { chipElements, legendElements, light, markTurn } from "./links.js";
import { boxOf, kindOf, nameOf } from "./shapes.js";

export const TOUCH = matchMedia("(hover: none)").matches;
export const HINT = TOUCH
  ? "Draw a box or tap a thing. Tap coloured words to see them."
  : "Drag to draw a box, or click a thing to take it. Hover over coloured words to see what they mean.";
export const FIRST = `Draw a box or ${TOUCH ? "tap" : "click"} a thing first.`;
const HINTS = {
  box: HINT,
  point: `${TOUCH ? "Tap" : "Click"} the thing that you mean.`,
  scribble: `Scribble over the thing; every stroke is added. ${TOUCH ? "Tap beside it" : "Click beside it or press Escape"} to begin another.`,
  lasso: "Draw a line around the thing.",
};

/** One canvas of the page: `element`, `props` and `trigger` as Gradio hands them, and its question box. */
export function regionCanvas({ element, props, trigger }, question) {
  const root = element.querySelector(".groma-canvas");
  const [view, stage, image, layer, menu, hint] = ["view", "stage", "stage img", "boxes", "menu", "hint"].map((name) => root.querySelector(`.groma-${name}`));
  const local = { selected: null, gesture: null, exploring: false, hinted: null, lit: [], url: "", tool: "box", show: "boxes", turn: null };

  const size = () => ({ width: image.naturalWidth || 1, height: image.naturalHeight || 1 });
  const drafts = () => props.value?.regions || [];
  const numberOf = (index) => props.shown.next + index;
  const turn = () => local.turn ?? props.shown.turns - 1;

  /** Every region there is, in one form. */
  function regions() {
    const drawn = drafts().map(draftRegion);
    return [...props.shown.regions.filter(({ key }) => !drawn.some(({ twin }) => twin === key)).map(namedRegion), ...drawn];
  }

  /** A region that was asked about or found; what other turns found waits until its words are pointed at. */
  function namedRegion(region) {
    const { user, uncertain, score, polygons, label } = region;
    const here = region.labels[turn()];
    const isHidden = local.show === "none";
    const classes = { user, latest: here, uncertain, away: isHidden || !(user || here) };
    return {
      ...region,
      label: here || label,
      polygons: local.show === "masks" ? polygons : undefined,
      isDraft: false,
      isAway: classes.away,
      isHere: Boolean(here && !isHidden),
      text: [user, user ? here : here || label].filter(Boolean).join(" · "),
      name: [user ? `Region ${user}` : "Found", here || label, score].filter(Boolean).join(" "),
      classes: Object.keys(classes).filter((name) => classes[name]).join(" "),
    };
  }

  /** A region being drawn; one that was adopted tells from what, and keeps a named thing's colour and label. */
  function draftRegion(shape, index) {
    const user = numberOf(index);
    const box = boxOf(shape);
    const found = foundBy(shape);
    const twin = (props.shown.named && found) || undefined;
    const { labels = {}, label = "" } = props.shown.regions.find(({ key }) => key === twin?.key) || {};
    const [x1, y1, x2, y2] = box.map(Math.round);
    const what = kindOf(shape) === "box" ? "" : `, a ${nameOf(shape)}`;
    const name = `Region ${user}${what}, from ${x1}, ${y1} to ${x2}, ${y2}`;
    const { colour, ink } = twin || props.shown.colours[user - 1];
    const text = [user, labels[turn()] ?? ""].filter(Boolean).join(" · ");
    const score = found ? proposalText(found) : "";
    return { box, shape, colour, ink, text, score, label, name, classes: "user draft", key: `u${user}`, twin: twin?.key, user, index, isDraft: true, isHere: true };
  }

  /** The proposal that a shape means. */
  function foundBy(shape) {
    if (shape.point) return proposalAt(props.shown.proposals, shape.point);
    return Array.isArray(shape) ? props.shown.proposals.find((one) => isSame(one.box, shape)) : undefined;
  }

  const proposalText = ({ key, score }) => `${key} · ${score.toFixed(2)}`;

  /** Proposals that no other box covers. */
  function freeProposals() {
    const taken = regions();
    return props.shown.proposals.filter(
      ({ key, box }) => !taken.some((region) => region.key === key || overlap(region.box, box) > 0.8),
    );
  }

  function proposalRegion(proposal) {
    const text = proposalText(proposal);
    const name = `Proposal ${proposal.key}, objectness ${proposal.score.toFixed(2)}; Enter takes it`;
    return { ...proposal, score: "", text, name, isDraft: false, classes: "proposal" };
  }

  /** The box of a region on the stage. */
  const elementOf = (key) => [...layer.children].find((box) => keysOf(box).includes(key));

  function render() {
    root.dataset.state = props.value?.image ? "ready" : "empty";
    const focused = layer.contains(document.activeElement) && keysOf(document.activeElement)[0];
    const proposals = local.exploring ? freeProposals().map(proposalRegion) : [];
    const all = [...proposals, ...regions()];
    const hinted = local.hinted && !local.exploring ? [{ ...proposalRegion(local.hinted), classes: "proposal hinted" }] : [];
    const byArea = [...all, ...hinted].sort((a, b) => area(b.box) - area(a.box));
    layer.replaceChildren(...byArea.map((region) => boxElement(region, size(), region.key === local.selected)));
    drawOutlines(stage.querySelector(".groma-outlines"), byArea, size());
    if (focused) elementOf(focused)?.focus({ preventScroll: true });
    elementOf(local.selected)?.classList.add("selected");
    renderTools();
    const own = regions().filter((region) => region.user).sort((a, b) => a.user - b.user);
    (element.querySelector("[data-chips]") || document.querySelector("#groma-chips"))?.replaceChildren(...chipElements(own));
    tieWords();
    placeLabels(layer);
    placeMenu();
    root.dispatchEvent(new Event("groma:draw"));
  }

  /** Tie the words of the page to what is shown. */
  function tieWords() {
    light(root, local.lit);
    if (root.closest(".groma-picture")) markTurn(turn());
  }

  /** Show what another turn found; the same once more shows the last one's. */
  function showTurn(place) {
    local.turn = place === turn() ? null : place;
    render();
  }

  /** The buttons as things are. */
  function renderTools() {
    const press = (button, isPressed) => button.setAttribute("aria-pressed", isPressed);
    const explore = root.querySelector("[data-do=explore]");
    press(explore, local.exploring);
    explore.textContent = `Proposals ${props.shown.proposals.length || ""}`;
    explore.hidden = !props.shown.proposals.length;
    root.querySelectorAll("[data-tool]").forEach((tool) => press(tool, tool.dataset.tool === local.tool));
    root.querySelectorAll("[data-show]").forEach((show) => press(show, show.dataset.show === local.show));
    root.querySelector("[data-do=undo-stroke]").disabled = !drafts().length;
    root.querySelector(".groma-legend").hidden = !props.shown.regions.some(({ user, label }) => label || !user);
    root.querySelector(".groma-legend ul").replaceChildren(...legendElements(regions().filter(({ isHere, label }) => isHere && label)));
  }

  /** Put the menu of the selected region below it, above it, or where there is room; out of the way of a next stroke. */
  function placeMenu() {
    const region = regions().find(({ key }) => key === local.selected);
    menu.hidden = !region || Boolean(local.gesture);
    if (menu.hidden) return;
    menu.querySelector("[data-do=delete]").hidden = !region.isDraft;
    const [box, seen, whole] = [elementOf(region.key), view, stage].map((one) => one.getBoundingClientRect());
    const { width, height } = menu.getBoundingClientRect();
    const [below, above] = [box.bottom + 8, box.top - height - 28];
    const far = box.top - seen.top > seen.bottom - box.bottom ? seen.top + 8 : seen.bottom - height - 8;
    const near = below + height <= seen.bottom ? below : above >= seen.top ? above : seen.bottom - height - 8;
    const top = local.tool === "scribble" ? far : near;
    menu.style.top = `${(100 * (Math.max(top, seen.top) - whole.top)) / whole.height}%`;
    menu.style.left = `${(100 * (Math.max(seen.left, Math.min(box.left, seen.right - width)) - whole.left)) / whole.width}%`;
  }

  /** Light regions; for a phrase, what it does not mean is dimmed. */
  function showLinks(keys, isPhrase) {
    if (local.gesture || keys.join() === local.lit.join()) return;
    local.lit = keys;
    light(root, []);
    placeLabels(layer);
    light(root, keys);
    placeLabels(layer, ".lit > .groma-label"); // they have grown
    const every = [...regions(), ...props.shown.proposals];
    const lit = isPhrase ? every.filter(({ key, twin }) => keys.includes(key) || keys.includes(twin)) : [];
    drawShade(stage.querySelector(".groma-shade"), lit, size());
  }

  function say(text) {
    if (hint.textContent !== text) hint.textContent = text;
  }

  /** Say what the tool in hand does. */
  const sayHint = () => say(HINTS[local.tool]);

  function select(key) {
    local.selected = key;
    render();
  }

  function take(tool) {
    local.tool = tool;
    select(null);
    sayHint();
  }

  function saveShapes(shapes) {
    props.value = { ...props.value, regions: shapes };
    sayHint();
  }

  function addShape(shape) {
    saveShapes([...drafts(), shape]);
    select(`u${numberOf(drafts().length - 1)}`);
    layer.querySelector(".selected")?.focus({ preventScroll: true });
  }

  function changeShape(index, shape) {
    saveShapes(drafts().map((old, i) => (i === index ? shape : old)));
    render();
  }

  function deleteShape(index) {
    const number = numberOf(index);
    saveShapes(drafts().filter((_, i) => i !== index));
    select(null);
    question.forget(number);
    root.dispatchEvent(new CustomEvent("groma:gone", { detail: number }));
    stage.focus({ preventScroll: true });
  }

  /** Take back what was drawn last, of the selected region if there is one: a stroke, or all of what has none. */
  function undoStroke() {
    const selected = regions().find(({ key, isDraft }) => isDraft && key === local.selected);
    const index = selected?.index ?? drafts().length - 1;
    const shape = drafts()[index];
    if (!shape) return;
    if (shape.scribble?.length > 1) changeShape(index, { ...shape, scribble: shape.scribble.slice(0, -1) });
    else deleteShape(index);
  }

  function ask(key) {
    const region = regions().find((one) => one.key === key);
    if (!region) return;
    if (!region.user) addShape(region.box);
    const number = region.user || numberOf(drafts().length - 1);
    select(null);
    // The question box is not in a canvas that fills the screen.
    if (document.fullscreenElement === root) document.exitFullscreen();
    if (local.ask) question.about(number, local.ask);
    else question.mention(number);
  }

  function adopt(key) {
    const proposal = props.shown.proposals.find((one) => one.key === key);
    if (proposal) addShape(proposal.box);
  }

  /** What a click at a point means: the smallest region there or, with the box in hand, a smaller proposal. */
  function meantAt(point) {
    const region = smallest(regions().filter(({ box, isAway }) => holds(box, point) && !isAway));
    const proposal = local.tool === "box" ? proposalAt(freeProposals(), point) : null;
    return proposal && !(region && area(region.box) <= area(proposal.box)) ? { proposal } : { region };
  }

  function tap(point) {
    const { region, proposal } = meantAt(point);
    if (proposal) return addShape(proposal.box);
    select(region ? region.key : null);
    if (region) layer.querySelector(".selected")?.focus({ preventScroll: true });
  }

  return {
    element, props, trigger, question, root, view, stage, image, layer, menu, hint, local,
    size, drafts, numberOf, turn, showTurn, tieWords, regions, render, placeMenu, showLinks, say, sayHint, select, take,
    saveShapes, addShape, changeShape, deleteShape, undoStroke, ask, adopt, meantAt, tap,
  };
}
