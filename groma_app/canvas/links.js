// What ties words to boxes: highlighting both ways, and the question box with its region chips.

const questionBox = () => element.querySelector("[data-question]") || document.querySelector("#groma-question textarea");

/** Light every phrase, chip and box of some regions. */
function light(root, keys) {
  const isLit = (element, own) => element.classList.toggle("lit", own.some((key) => keys.includes(key)));
  root.querySelectorAll("[data-key]").forEach((box) => isLit(box, keysOf(box)));
  document
    .querySelectorAll("[data-regions]")
    .forEach((phrase) => isLit(phrase, phrase.dataset.regions.split(" ")));
}

/** Call `show(keys, isPhrase)` when a phrase or a box is hovered or focused, with no keys after. */
function listenForLinks(root, show) {
  const look = ({ target }) => {
    if (!root.checkVisibility() || !target.closest) return;
    const phrase = target.closest("[data-regions]");
    const box = target.closest(".groma-box");
    if (phrase) show(phrase.dataset.regions.split(" "), true);
    else show(box && root.contains(box) ? keysOf(box) : [], false);
  };
  document.addEventListener("pointerover", look);
  document.addEventListener("focusin", look);
  document.addEventListener("focusout", () => show([], false));
}

/** The last question that was filled in for the user. */
let filled = "";

/** Put text into the question box as if it had been typed. */
function writeQuestion(text) {
  const box = questionBox();
  Object.getOwnPropertyDescriptor(HTMLTextAreaElement.prototype, "value").set.call(box, text);
  box.dispatchEvent(new Event("input", { bubbles: true }));
}

/** The same, to go on typing there. */
function setQuestion(text, start = text.length, end = start) {
  const box = questionBox();
  if (!box) return;
  writeQuestion(text);
  box.focus({ preventScroll: true });
  box.setSelectionRange(start, end);
}

/** Mention a region where the cursor is, or before the sentence ends; no question becomes "What is [K]?". */
function mention(number) {
  const { value, selectionStart, selectionEnd } = questionBox();
  if (!value.trim() || (value === filled && !value.includes("…"))) {
    filled = `What is [${number}]?`;
    return setQuestion(filled);
  }
  const isAtEnd = selectionStart === value.length;
  const at = isAtEnd ? value.search(/[\s.?!]*$/) : selectionStart;
  const before = value.slice(0, at);
  const space = before && !before.endsWith(" ") ? " " : "";
  const text = `${before}${space}[${number}]`;
  setQuestion(text + value.slice(isAtEnd ? at : selectionEnd), text.length);
}

/** Keep the numbers in the question true after drawn region `gone` was deleted. */
function forgetMention(gone) {
  const box = questionBox();
  if (!box || !box.value.includes("[")) return;
  const renumber = (all, digits) => {
    const number = Number(digits);
    if (number === gone) return "";
    return number > gone ? `[${number - 1}]` : all;
  };
  setQuestion(box.value.replace(/\[(\d+)\]/g, renumber));
}

/** Ask a quick question, or fill it in; "[#]" becomes the region, and what is left open "…" is selected.
 *  What the user wrote stays in the box. */
function quickQuestion({ fill, send }, number, complain, ask) {
  const { value } = questionBox();
  const isOwn = value.trim() && value !== filled;
  const text = fill.replace("[#]", number ? `[${number}]` : "…");
  const open = text.indexOf("…");
  if (send !== undefined) {
    if (open >= 0) return complain(FIRST);
    if (value && !isOwn) writeQuestion("");
    return ask(text);
  }
  if (isOwn) return complain("Your own question is in the box; ask it or delete it first.");
  filled = text;
  setQuestion(text, open < 0 ? text.length : open, open < 0 ? text.length : open + 1);
}

/** One chip for every region of the user. */
function drawChips(regions) {
  const chips = regions.map((region) => {
    const chip = document.createElement("button");
    chip.type = "button";
    chip.className = "groma-chip";
    chip.dataset.number = region.user;
    chip.dataset.regions = region.key;
    chip.style.cssText = `--colour: ${region.colour}; --ink: ${region.ink}`;
    chip.textContent = region.user;
    chip.title = `Mention region ${region.user}`;
    return chip;
  });
  (element.querySelector("[data-chips]") || document.querySelector("#groma-chips"))?.replaceChildren(...chips);
}
