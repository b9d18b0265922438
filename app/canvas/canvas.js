// The canvas: everything it shows follows from `props`, what the server knows, and `local`.

import { area, boxElement, drawShade, holds, isSame, keysOf, overlap, placeLabels, proposalAt, smallest } from "./boxes.js";
import { chipElements, light } from "./links.js";

export const TOUCH = matchMedia("(hover: none)").matches;
export const HINT = TOUCH
  ? "Draw a box or tap a thing. Tap coloured words to see them."
  : "Drag to draw a box, or click a thing to take it. Hover over coloured words to see what they mean.";
export const FIRST = `Draw a box or ${TOUCH ? "tap" : "click"} a thing first.`;

/** One canvas of the page: `element`, `props` and `trigger` as Gradio hands them, and its question box. */
export function regionCanvas({ element, props, trigger }, question) {
  const root = element.querySelector(".groma-canvas");
  const stage = root.querySelector(".groma-stage");
  const image = stage.querySelector("img");
  const layer = stage.querySelector(".groma-boxes");
  const menu = stage.querySelector(".groma-menu");
  const hint = root.querySelector(".groma-hint");
  const local = { selected: null, gesture: null, exploring: false, hinted: null, lit: [], url: "" };

  const size = () => ({ width: image.naturalWidth || 1, height: image.naturalHeight || 1 });
  const drafts = () => props.value?.boxes || [];
  const numberOf = (index) => props.shown.next + index;

  /** Every box there is, in one form. */
  function regions() {
    const drawn = drafts().map(draftRegion);
    const named = props.shown.regions.filter(({ key }) => !drawn.some(({ twin }) => twin === key)).map((region) => ({
      ...region,
      isDraft: false,
      text: [region.user || "", region.latest ? region.label : ""].filter(Boolean).join(" · "),
      name: `${region.user ? `Region ${region.user}` : "Found"} ${region.label} ${region.score}`.trim(),
      classes: [region.user && "user", region.latest && "latest", region.uncertain && "uncertain"].filter(Boolean).join(" "),
    }));
    return [...named, ...drawn];
  }

  /** A box being drawn; one that was adopted tells from what, and keeps a named thing's colour and label. */
  function draftRegion(box, index) {
    const user = numberOf(index);
    const found = props.shown.proposals.find((one) => isSame(one.box, box));
    const twin = props.shown.named ? found : undefined;
    const { latest, label = "" } = props.shown.regions.find(({ key }) => key === twin?.key) || {};
    const [x1, y1, x2, y2] = box.map(Math.round);
    const name = `Region ${user}, from ${x1}, ${y1} to ${x2}, ${y2}`;
    const { colour, ink } = twin || props.shown.colours[user - 1];
    const text = [user, latest ? label : ""].filter(Boolean).join(" · ");
    const score = found ? proposalText(found) : "";
    return { box, colour, ink, text, score, label, name, classes: "user draft", key: `u${user}`, twin: twin?.key, user, index, isDraft: true };
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
    if (focused) elementOf(focused)?.focus({ preventScroll: true });
    elementOf(local.selected)?.classList.add("selected");
    const tool = root.querySelector("[data-do=explore]");
    tool.setAttribute("aria-pressed", local.exploring);
    tool.textContent = `Proposals ${props.shown.proposals.length || ""}`;
    tool.hidden = !props.shown.proposals.length;
    const own = regions().filter((region) => region.user).sort((a, b) => a.user - b.user);
    (element.querySelector("[data-chips]") || document.querySelector("#groma-chips"))?.replaceChildren(...chipElements(own));
    light(root, local.lit);
    placeLabels(layer);
    placeMenu();
    root.dispatchEvent(new Event("groma:draw"));
  }

  /** Put the menu of the selected box below it, or above where there is no room. */
  function placeMenu() {
    const region = regions().find(({ key }) => key === local.selected);
    menu.hidden = !region || Boolean(local.gesture);
    if (menu.hidden) return;
    const { width, height } = size();
    const [x1, y1, , y2] = region.box;
    const below = y2 / height < 0.85;
    menu.style.top = below ? `calc(${(100 * y2) / height}% + 6px)` : "auto";
    menu.style.bottom = below ? "auto" : `calc(${100 - (100 * Math.max(y1, 0.15 * height)) / height}% + 26px)`;
    menu.style.left = `clamp(0px, ${(100 * x1) / width}%, 100% - 175px)`;
    menu.querySelector("[data-do=delete]").hidden = !region.isDraft;
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
    drawShade(stage.querySelector(".groma-shade"), lit.map(({ box }) => box), size());
  }

  function say(text) {
    if (hint.textContent !== text) hint.textContent = text;
  }

  function select(key) {
    local.selected = key;
    render();
  }

  function saveBoxes(boxes) {
    props.value = { ...props.value, boxes };
    say(HINT);
  }

  function addBox(box) {
    saveBoxes([...drafts(), box]);
    select(`u${numberOf(drafts().length - 1)}`);
    layer.querySelector(".selected")?.focus({ preventScroll: true });
  }

  function changeBox(index, box) {
    saveBoxes(drafts().map((old, i) => (i === index ? box : old)));
    render();
  }

  function deleteBox(index) {
    const number = numberOf(index);
    saveBoxes(drafts().filter((_, i) => i !== index));
    select(null);
    question.forget(number);
    root.dispatchEvent(new CustomEvent("groma:gone", { detail: number }));
    stage.focus({ preventScroll: true });
  }

  function ask(key) {
    const region = regions().find((one) => one.key === key);
    if (!region) return;
    if (!region.user) addBox(region.box);
    const number = region.user || numberOf(drafts().length - 1);
    select(null);
    // The question box is not in the picture that fills the screen.
    if (document.fullscreenElement) document.exitFullscreen();
    question.mention(number);
  }

  function adopt(key) {
    const proposal = props.shown.proposals.find((one) => one.key === key);
    if (proposal) addBox(proposal.box);
  }

  /** What a click at a point means: the smallest box there, or else a proposal to adopt. */
  function tap(point) {
    const region = smallest(regions().filter(({ box }) => holds(box, point)));
    const proposal = proposalAt(freeProposals(), point);
    if (proposal && !(region && area(region.box) <= area(proposal.box))) return addBox(proposal.box);
    select(region ? region.key : null);
    if (region) layer.querySelector(".selected")?.focus({ preventScroll: true });
  }

  return {
    element, props, trigger, question, root, stage, image, layer, menu, hint, local,
    size, drafts, numberOf, regions, freeProposals, render, showLinks, say, select,
    saveBoxes, addBox, changeBox, deleteBox, ask, adopt, tap,
  };
}
