// What ties words to boxes: highlighting both ways, and the chips of the user's regions.

import { keysOf } from "./boxes.js";

/** Names of the regions that a phrase, a chip or an option means. */
const regionsOf = (element) => JSON.parse(element.dataset.regions);

/** Let an element mean some regions. */
export function setRegions(element, keys) {
  element.dataset.regions = JSON.stringify(keys);
}

/** Light every phrase, chip and box of some regions. */
export function light(root, keys) {
  const isLit = (element, own) => element.classList.toggle("lit", own.some((key) => keys.includes(key)));
  root.querySelectorAll("[data-key]").forEach((box) => isLit(box, keysOf(box)));
  document.querySelectorAll("[data-regions]").forEach((phrase) => isLit(phrase, regionsOf(phrase)));
}

/** Call `show(keys, isPhrase)` when a phrase or a box is hovered or focused, with no keys after. */
export function listenForLinks(root, show) {
  const look = ({ target }) => {
    if (!root.checkVisibility() || !target.closest) return;
    const phrase = target.closest("[data-regions]");
    const box = target.closest(".groma-box");
    if (phrase) show(regionsOf(phrase), true);
    else show(box && root.contains(box) ? keysOf(box) : [], false);
  };
  document.addEventListener("pointerover", look);
  document.addEventListener("focusin", look);
  document.addEventListener("focusout", () => show([], false));
}

/** One chip for every region of the user. */
export function chipElements(regions) {
  return regions.map((region) => {
    const chip = document.createElement("button");
    chip.type = "button";
    chip.className = "groma-chip";
    chip.dataset.number = region.user;
    setRegions(chip, [region.key]);
    chip.style.cssText = `--colour: ${region.colour}; --ink: ${region.ink}`;
    chip.textContent = region.user;
    chip.title = `Mention region ${region.user}`;
    return chip;
  });
}

/** Tell which turn of the conversation the picture shows. */
export function markTurn(turn) {
  document.querySelectorAll("#groma-talk .groma-turn").forEach((one, place) => {
    one.classList.toggle("shown", place === turn);
    one.querySelector("[data-boxes]")?.setAttribute("aria-pressed", place === turn);
  });
}

/** What is shown in which colour; a click selects it on the picture. */
export function legendElements(regions) {
  return regions.map((region) => {
    const [item, button] = ["li", "button"].map((name) => document.createElement(name));
    button.type = "button";
    button.dataset.select = region.key;
    setRegions(button, [region.key]);
    button.style.cssText = `--colour: ${region.colour}`;
    button.textContent = region.label;
    if (region.score) button.title = region.score;
    item.append(button);
    return item;
  });
}
