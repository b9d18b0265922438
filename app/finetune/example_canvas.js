// The workbench for examples: a question, and an answer whose words mean boxes. Nobody types a tag.

import { smallest } from "../canvas/boxes.js";
import { HINT, TOUCH } from "../canvas/canvas.js";
import { pointOf } from "../canvas/gestures.js";
import { setRegions } from "../canvas/links.js";
import { start as startCanvas } from "../canvas/region_canvas.js";

const SELECT = "Select words of the answer, then press the number of their box";
const GRAB = `Drag a box to its place, or its edge to another size. ${
  TOUCH ? "Of two boxes, draw the inner one first." : "With Shift, a box is drawn within a box."
}`;
const EDGE = 8;
function marksOf(pieces) {
  let at = 0;
  return pieces.map(({ text, boxes }) => ({ start: at, end: (at += text.length), boxes })).filter(({ boxes }) => boxes.length);
}

const isWord = (character) => /[\p{L}\p{N}'’-]/u.test(character || "");

/** A mark without the spaces around its words, of which one that is being typed anew may have none. */
const trimmed = (text) => (mark) => {
  let { start, end } = mark;
  while (start < end && /\s/.test(text[end - 1])) end -= 1;
  while (start < end && /\s/.test(text[start])) start += 1;
  return { ...mark, start, end };
};

/** What an edit that ends at the cursor replaced: `from` and `to` in the old text, and what came instead. */
function editBetween(before, after, cursor) {
  const shorter = Math.min(before.length, after.length);
  let from = 0;
  while (from < shorter && before[from] === after[from]) from += 1;
  let rest = 0;
  while (rest < shorter - from && before.at(-1 - rest) === after.at(-1 - rest)) rest += 1;
  // Of "a a", either letter may have been typed; the cursor tells.
  const late = Math.max(0, after.length - rest - cursor);
  const isSame = before.slice(0, Math.max(0, from - late)) + after.slice(from - late, cursor) + before.slice(before.length - rest - late) === after;
  if (late <= from && isSame) [from, rest] = [from - late, rest + late];
  return { from, to: before.length - rest, text: after.slice(from, after.length - rest) };
}

/** Whether what an edit typed belongs to a mark: it is inside, instead of words of it, or goes on at its last letter. */
function belongs({ start, end, isOpen }, { from, to, text }, before) {
  if (from < start || to > end) return false;
  if (from < to || (start < from && to < end)) return true;
  return isOpen ? !/^[.,;:!?]/.test(text) : from === end && isWord(before[end - 1]) && isWord(text[0]);
}

/** Begin with a component of Gradio, whose `js_on_load` has these. */
export function start(context) {
  const { element, props, watch } = context;
  const canvas = startCanvas(context);
  const { root, image, menu, hint, local, question, size, drafts, regions, say } = canvas;

  const fields = element.querySelector(".groma-fields");
  const answer = fields.querySelector("[data-answer]");
  const marked = fields.querySelector("[data-marked]");
  /** The words of the answer that mean boxes: { start, end, boxes, isOpen }, in order; an open one is being typed anew. */
  let marks = [];

  /** The answer as the server knows it: words that mean boxes apart from those that mean none. */
  function piecesOf(text) {
    let at = 0;
    const pieces = marks.map(trimmed(text)).flatMap(({ start, end, boxes }) => {
      const before = { text: text.slice(at, start), boxes: [] };
      at = end;
      return [before, { text: text.slice(start, end), boxes }];
    });
    return [...pieces, { text: text.slice(at), boxes: [] }].filter((piece) => piece.text);
  }

  /** The marks after an edit. */
  function afterEdit(before, after, cursor) {
    const edit = editBetween(before, after, cursor);
    const { from, to } = edit;
    const moved = after.length - before.length;
    const owners = marks.filter((mark) => belongs(mark, edit, before));
    const owner = owners.find(({ isOpen }) => isOpen) || owners[0];
    const changed = marks.map((mark) => {
      const { start, end, boxes } = mark;
      if (mark === owner) return { start, end: end + moved, boxes, isOpen: mark.isOpen || from < to };
      if (end <= from) return { start, end, boxes };
      if (start >= to) return { start: start + moved, end: end + moved, boxes };
      return start < from ? { start, end: from, boxes } : { start: to + moved, end: end + moved, boxes };
    });
    return changed.filter(({ start, end, isOpen }) => isOpen || (start < end && after.slice(start, end).trim()));
  }

  /** Nobody types there any more: what is marked are the words. */
  function closeMarks() {
    const text = answer.value;
    marks = marks.map(trimmed(text)).filter(({ start, end }) => start < end).map(({ start, end, boxes }) => ({ start, end, boxes }));
  }

  /** The words that are meant: a phrase, the selected words, or the word at the cursor. */
  function wordsMeant() {
    const { value, selectionStart, selectionEnd } = answer;
    let [start, end] = [selectionStart, selectionEnd];
    const phrase = marks.map(trimmed(value)).find((mark) => mark.start < mark.end && mark.start <= start && end <= mark.end);
    if (phrase) return phrase;
    if (start === end) {
      while (isWord(value[start - 1])) start -= 1;
      while (isWord(value[end])) end += 1;
    }
    while (start < end && /\s/.test(value[start])) start += 1;
    while (start < end && /[\s.,;:!?]/.test(value[end - 1])) end -= 1;
    return start < end ? { start, end, boxes: [] } : null;
  }

  /** Let the meant words mean a box, or no longer mean it. */
  function toggleMark(number) {
    const words = wordsMeant();
    if (!words) return say(`${SELECT}.`);
    closeMarks();
    const { start, end } = words;
    const boxes = words.boxes.includes(number) ? words.boxes.filter((one) => one !== number) : [...words.boxes, number];
    const others = marks.filter((mark) => mark.end <= start || mark.start >= end);
    marks = [...others, ...(boxes.length ? [{ start, end, boxes }] : [])].sort((a, b) => a.start - b.start);
    answer.focus({ preventScroll: true });
    answer.setSelectionRange(start, end);
    saveFields();
  }

  function saveFields() {
    props.value = { ...props.value, question: question.find().value, answer: piecesOf(answer.value) };
    drawMarks();
  }

  /** Show the fields as the server knows them. */
  function showFields() {
    const { question: asked = "", answer: pieces = [] } = props.value || {};
    const text = pieces.map((piece) => piece.text).join("");
    if (question.find().value !== asked) question.find().value = asked;
    if (answer.value !== text) answer.value = text;
    // What is being typed stays open.
    if (JSON.stringify(piecesOf(text)) !== JSON.stringify(pieces.map(({ text, boxes }) => ({ text, boxes })))) marks = marksOf(pieces);
    showEarlier();
    drawMarks();
  }

  /** What was said before the question, which the example keeps. */
  function showEarlier() {
    const earlier = props.value?.earlier || [];
    fields.querySelector("[data-earlier]").hidden = !earlier.length;
    const lines = earlier.map(({ question, answer }) => {
      const [line, asked] = ["li", "strong"].map((name) => document.createElement(name));
      asked.textContent = question;
      line.append(asked, ` ${answer}`);
      return line;
    });
    fields.querySelector("[data-earlier] ol").replaceChildren(...lines);
  }

  function drawMarks() {
    const boxes = drafts().map((_, index) => ({ number: index + 1, ...props.shown.colours[index] }));
    const words = document.activeElement === answer || answer.selectionEnd ? wordsMeant() : null;
    fields.querySelectorAll(".groma-numbers").forEach((row) => (row.hidden = !boxes.length));
    fields.querySelector("[data-target]").textContent = words ? `“${answer.value.slice(words.start, words.end)}” means` : SELECT;
    const markers = boxes.map(({ number, colour, ink }) => markerElement(number, colour, ink, words?.boxes.includes(number)));
    fields.querySelector("[data-markers]").replaceChildren(...markers);
    marked.hidden = !marks.length;
    marked.replaceChildren(...piecesOf(answer.value).map((piece) => (piece.boxes.length ? phraseElement(piece) : piece.text)));
  }

  function markerElement(number, colour, ink, isOn) {
    const marker = document.createElement("button");
    marker.type = "button";
    marker.className = "groma-marker";
    marker.textContent = marker.dataset.marker = number;
    setRegions(marker, [`u${number}`]);
    marker.setAttribute("aria-pressed", Boolean(isOn));
    marker.style.cssText = `--colour: ${colour}; --ink: ${ink}`;
    return marker;
  }

  function phraseElement({ text, boxes }) {
    const colours = boxes.map((number) => props.shown.colours[number - 1].colour);
    const part = 100 / colours.length;
    const stripes = colours.map((colour, i) => `${colour} ${part * i}% ${part * (i + 1)}%`);
    const phrase = document.createElement("span");
    phrase.className = "groma-phrase";
    setRegions(phrase, boxes.map((number) => `u${number}`));
    phrase.style.cssText = `--colour: ${colours[0]}; --stripes: linear-gradient(90deg, ${stripes})`;
    phrase.textContent = text;
    return phrase;
  }

  answer.addEventListener("input", () => {
    const before = (props.value?.answer || []).map((piece) => piece.text).join("");
    marks = afterEdit(before, answer.value, answer.selectionEnd);
    saveFields();
  });
  answer.addEventListener("keydown", ({ key }) => /^(Arrow|Home|End|Page)/.test(key) && closeMarks());
  ["pointerdown", "blur"].forEach((name) => answer.addEventListener(name, closeMarks));
  question.find().addEventListener("input", saveFields);
  ["select", "keyup", "pointerup", "focus"].forEach((name) => answer.addEventListener(name, drawMarks));
  fields.addEventListener("click", (event) => {
    const marker = event.target.closest("[data-marker]");
    if (marker) toggleMark(Number(marker.dataset.marker));
    if (!event.target.closest("[data-forget]")) return;
    props.value = { ...props.value, earlier: [] };
    showEarlier();
  });
  root.addEventListener("groma:draw", () => {
    drawMarks();
    if (drafts().length && hint.textContent === HINT) say(GRAB);
  });
  root.addEventListener("groma:gone", ({ detail: gone }) => {
    const renumber = ({ boxes, ...mark }) => ({ ...mark, boxes: boxes.filter((one) => one !== gone).map((one) => (one > gone ? one - 1 : one)) });
    marks = marks.map(renumber).filter(({ boxes }) => boxes.length);
    saveFields();
  });
  root.addEventListener("groma:replace", (event) => {
    if (!drafts().length && !props.value?.earlier?.length) return;
    event.preventDefault();
    say("Keep or discard this example before you open another picture.");
  });
  /** The part of a box at a point: an edge or a corner by its handle's name, or "" for its inside. */
  function partAt([x1, y1, x2, y2], [x, y]) {
    const margin = (EDGE * size().width) / image.clientWidth;
    const side = (low, high, at, names) => {
      // In a small box most is inside.
      const near = Math.min(margin, (high - low) / 4);
      if (at < low - margin || at > high + margin) return null;
      return at < low + near ? names[0] : at > high - near ? names[1] : "";
    };
    const [rise, run] = [side(y1, y2, y, "ns"), side(x1, x2, x, "we")];
    return rise === null || run === null ? null : rise + run;
  }

  /** Here boxes are put right more often than drawn into one another: who presses one has it. */
  local.grab = (event) => {
    const point = pointOf(canvas, event);
    const here = regions().filter(({ isDraft, box }) => isDraft && partAt(box, point) !== null);
    const old = here.find(({ key }) => key === local.selected) || smallest(here);
    if (!old || event.shiftKey) return { kind: "draw" };
    const handle = partAt(old.box, point);
    return { kind: handle ? "resize" : "move", handle, old };
  };
  root.querySelectorAll("[data-tool]").forEach((tool) => tool.remove()); // examples are of boxes
  local.ask = null; // nobody answers here
  menu.querySelector("[data-do=ask]").textContent = "Point at it in the question";
  watch("value", showFields);
  showFields();
}
