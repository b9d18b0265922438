// `@` and `[` in the question box: a list of the regions that can be mentioned there.

import { overlap } from "./boxes.js";
import { FIRST } from "./canvas.js";
import { setRegions } from "./links.js";
import { nameOf } from "./shapes.js";

const MENTION = /(@|\[)([\p{L}\p{N}]*)$/u;
const THUMBNAIL = 36;
const GAP = 10;

/** Offer the regions of a canvas in its question box. */
export function listenForMentions(canvas) {
  const { root, image, question, drafts, numberOf, regions, addShape, say, select, showLinks } = canvas;
  const mentions = { list: root.querySelector(".groma-mentions"), found: [], active: 0, typed: null };

  /** What stands at the cursor: `mark` is "@" or "[", `words` what was typed after it. */
  function mentionAt(box) {
    const [all, mark, words] = box.value.slice(0, box.selectionStart).match(MENTION) || [];
    return all && { all, mark, words: words.toLowerCase() };
  }

  /** Regions that fit what was typed: the user's by their number, then what replies spoke of. */
  function mentionable(words) {
    const fits = ({ user, label }) => String(user || "").startsWith(words) || (label || "").toLowerCase().includes(words);
    const own = regions().filter(({ user }) => user).sort((a, b) => a.user - b.user);
    const isNew = ({ user, label, box }) => !user && label && !own.some((region) => overlap(region.box, box) > 0.8);
    return [...own, ...regions().filter(isNew)].filter((region) => !words || fits(region));
  }

  /** `@2` is `[2]` as soon as no other number begins with 2; until then there is a choice. */
  function onTyping(event) {
    const box = event.target;
    const isOwn = event.type === "input" && !event.isTrusted;
    if (!root.checkVisibility() || box !== question.find() || isOwn || event.isComposing) return;
    const typed = mentionAt(box);
    if (!typed) return closeMentions();
    const found = mentionable(typed.words);
    mentions.typed = typed;
    if (typed.mark === "@" && found.length === 1 && String(found[0].user) === typed.words) return chooseMention(found[0]);
    if (!found.length && typed.all === "@") say(FIRST);
    if (!found.length) return closeMentions();
    Object.assign(mentions, { found, active: 0 });
    mentions.list.replaceChildren(...found.map(optionElement));
    mentions.list.hidden = false;
    placeMentions();
    showActive();
  }

  function optionElement(region, index) {
    const option = document.createElement("li");
    option.id = `${mentions.list.id}-${index}`;
    option.setAttribute("role", "option");
    setRegions(option, [region.key]);
    option.style.cssText = `--colour: ${region.colour}; --ink: ${region.ink}`;
    const number = document.createElement("b");
    number.textContent = region.user || "+";
    const name = document.createElement("span");
    name.textContent = region.label || `your ${nameOf(region.shape || region.box)}`;
    option.setAttribute("aria-label", region.user ? `Region ${region.user}, ${name.textContent}` : name.textContent);
    option.append(number, thumbnailElement(region.box), name);
    option.addEventListener("click", () => chooseMention(region));
    return option;
  }

  /** What is in a box, in a small square. */
  function thumbnailElement([x1, y1, x2, y2]) {
    const thumbnail = document.createElement("canvas");
    const side = (thumbnail.width = thumbnail.height = THUMBNAIL * Math.ceil(devicePixelRatio));
    const scale = side / Math.max(x2 - x1, y2 - y1);
    const [width, height] = [(x2 - x1) * scale, (y2 - y1) * scale];
    const place = [(side - width) / 2, (side - height) / 2, width, height];
    thumbnail.getContext("2d").drawImage(image, x1, y1, x2 - x1, y2 - y1, ...place);
    return thumbnail;
  }

  /** Below the question box, or above where there is no room. */
  function placeMentions() {
    if (mentions.list.hidden) return;
    const frame = question.find().getBoundingClientRect();
    const { style } = mentions.list;
    const above = frame.bottom + mentions.list.offsetHeight + GAP > window.innerHeight;
    style.left = `${frame.left}px`;
    style.maxWidth = `${frame.width}px`;
    style.top = above ? "auto" : `${frame.bottom + GAP}px`;
    style.bottom = above ? `${window.innerHeight - frame.top + GAP}px` : "auto";
  }

  function showActive() {
    [...mentions.list.children].forEach((option, index) => option.setAttribute("aria-selected", index === mentions.active));
    const active = mentions.list.children[mentions.active];
    active.scrollIntoView({ block: "nearest" });
    const states = { "aria-autocomplete": "list", "aria-haspopup": "listbox", "aria-controls": mentions.list.id, "aria-activedescendant": active.id };
    Object.entries(states).forEach(([name, value]) => question.find().setAttribute(name, value));
    showLinks([mentions.found[mentions.active].key], true);
  }

  function closeMentions() {
    if (mentions.list.hidden) return;
    mentions.list.hidden = true;
    question.find()?.removeAttribute("aria-activedescendant");
    showLinks([], false);
  }

  /** Write `[K]` for what was typed; a thing found becomes a region of the user first. */
  function chooseMention(region) {
    const box = question.find();
    const before = box.value.slice(0, box.selectionStart - mentions.typed.all.length);
    const after = box.value.slice(box.selectionEnd);
    closeMentions();
    if (!region.user) addShape(region.box);
    const text = `${before}[${region.user || numberOf(drafts().length - 1)}]`;
    select(null);
    question.set(text + after, text.length);
  }

  function onMentionKey(event) {
    if (mentions.list.hidden || event.target !== question.find()) return;
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    const count = mentions.found.length;
    if (step) mentions.active = (mentions.active + step + count) % count;
    if (step) showActive();
    else if (event.key === "Enter") chooseMention(mentions.found[mentions.active]);
    else if (event.key === "Escape") closeMentions();
    else return ["ArrowLeft", "ArrowRight", "Home", "End"].includes(event.key) && closeMentions();
    event.preventDefault();
    event.stopPropagation();
  }

  mentions.list.id = `groma-mentions-${[...document.querySelectorAll(".groma-mentions")].indexOf(mentions.list)}`;
  // Before the question box hears of them: Enter chooses and does not ask.
  document.addEventListener("keydown", onMentionKey, true);
  ["input", "compositionend"].forEach((name) => document.addEventListener(name, onTyping));
  document.addEventListener("focusout", (event) => event.target === question.find() && closeMentions());
  document.addEventListener("pointerdown", (event) => !mentions.list.contains(event.target) && closeMentions());
  document.addEventListener("scroll", placeMentions, true);
  window.addEventListener("resize", placeMentions);
  mentions.list.addEventListener("pointerdown", (event) => event.preventDefault());
}
