// The workbench for examples: a question, and an answer whose words mean boxes. Nobody types a tag.

const fields = element.querySelector(".groma-fields");
const answer = fields.querySelector("[data-answer]");
const marked = fields.querySelector("[data-marked]");
const SELECT = "Select words of the answer, then press the number of their box";
/** The words of the answer that mean boxes: { start, end, boxes }, in order. */
let marks = [];

/** The answer as the server knows it: words that mean boxes apart from those that mean none. */
function piecesOf(text) {
  let at = 0;
  const pieces = marks.flatMap(({ start, end, boxes }) => {
    const before = { text: text.slice(at, start), boxes: [] };
    at = end;
    return [before, { text: text.slice(start, end), boxes }];
  });
  return [...pieces, { text: text.slice(at), boxes: [] }].filter((piece) => piece.text);
}

function marksOf(pieces) {
  let at = 0;
  return pieces.map(({ text, boxes }) => ({ start: at, end: (at += text.length), boxes })).filter(({ boxes }) => boxes.length);
}

/** The marks after an edit: what it changed inside a phrase belongs to the phrase. */
function afterEdit(before, after) {
  const shorter = Math.min(before.length, after.length);
  let from = 0;
  while (from < shorter && before[from] === after[from]) from += 1;
  let rest = 0;
  while (rest < shorter - from && before.at(-1 - rest) === after.at(-1 - rest)) rest += 1;
  const to = before.length - rest;
  const moved = after.length - before.length;
  const kept = marks.map(({ start, end, boxes }) => {
    if (end <= from) return { start, end, boxes };
    if (start >= to) return { start: start + moved, end: end + moved, boxes };
    if (start <= from && to <= end) return { start, end: end + moved, boxes };
    return start < from ? { start, end: from, boxes } : { start: to + moved, end: end + moved, boxes };
  });
  return kept.filter(({ start, end }) => after.slice(start, end).trim());
}

/** The words that are meant: a phrase, the selected words, or the word at the cursor. */
function wordsMeant() {
  const { value, selectionStart, selectionEnd } = answer;
  let [start, end] = [selectionStart, selectionEnd];
  const phrase = marks.find((mark) => mark.start <= start && end <= mark.end);
  if (phrase) return phrase;
  const isWord = (character) => /[\p{L}\p{N}'’-]/u.test(character || "");
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
  const { start, end } = words;
  const boxes = words.boxes.includes(number) ? words.boxes.filter((one) => one !== number) : [...words.boxes, number];
  const others = marks.filter((mark) => mark.end <= start || mark.start >= end);
  marks = [...others, ...(boxes.length ? [{ start, end, boxes }] : [])].sort((a, b) => a.start - b.start);
  answer.focus({ preventScroll: true });
  answer.setSelectionRange(start, end);
  saveFields();
}

function saveFields() {
  props.value = { ...props.value, question: questionBox().value, answer: piecesOf(answer.value) };
  drawMarks();
}

/** Show the fields as the server knows them. */
function showFields() {
  const { question = "", answer: pieces = [] } = props.value || {};
  const text = pieces.map((piece) => piece.text).join("");
  if (questionBox().value !== question) questionBox().value = question;
  if (answer.value !== text) answer.value = text;
  marks = marksOf(pieces);
  drawMarks();
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
  marker.dataset.regions = `u${number}`;
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
  phrase.dataset.regions = boxes.map((number) => `u${number}`).join(" ");
  phrase.style.cssText = `--colour: ${colours[0]}; --stripes: linear-gradient(90deg, ${stripes})`;
  phrase.textContent = text;
  return phrase;
}

answer.addEventListener("input", () => {
  const before = (props.value?.answer || []).map((piece) => piece.text).join("");
  marks = afterEdit(before, answer.value);
  saveFields();
});
questionBox().addEventListener("input", saveFields);
["select", "keyup", "pointerup", "focus"].forEach((name) => answer.addEventListener(name, drawMarks));
fields.addEventListener("click", (event) => {
  const marker = event.target.closest("[data-marker]");
  if (marker) toggleMark(Number(marker.dataset.marker));
});
root.addEventListener("groma:draw", drawMarks);
root.addEventListener("groma:gone", ({ detail: gone }) => {
  const renumber = ({ boxes, ...mark }) => ({ ...mark, boxes: boxes.filter((one) => one !== gone).map((one) => (one > gone ? one - 1 : one)) });
  marks = marks.map(renumber).filter(({ boxes }) => boxes.length);
  saveFields();
});
root.addEventListener("groma:replace", (event) => {
  if (!drafts().length) return;
  event.preventDefault();
  say("Keep or discard this example before you open another picture.");
});
menu.querySelector("[data-do=ask]").textContent = "Point at it in the question";
watch("value", showFields);
showFields();
