// The canvas: state, gestures, keyboard. Everything it shows follows from `props` and `local`.

const root = element.querySelector(".groma-canvas");
const stage = root.querySelector(".groma-stage");
const image = stage.querySelector("img");
const layer = stage.querySelector(".groma-boxes");
const menu = stage.querySelector(".groma-menu");
const hint = root.querySelector(".groma-hint");

const HINT = "Drag to draw a box, or click a thing to take it. Hover over coloured words to see what they mean.";
const MIN_DRAG = 5;
const local = { selected: null, gesture: null, exploring: false, hinted: null, url: "" };

const size = () => ({ width: image.naturalWidth || 1, height: image.naturalHeight || 1 });
const drafts = () => props.value?.boxes || [];
const numberOf = (index) => props.shown.next + index;

/** Every box there is, in one form. */
function regions() {
  const named = props.shown.regions.map((region) => ({
    ...region,
    isDraft: false,
    text: [region.user || "", region.latest ? region.label : ""].filter(Boolean).join(" · "),
    name: `${region.user ? `Region ${region.user}` : "Found"} ${region.label} ${region.score}`.trim(),
    classes: [region.user && "user", region.latest && "latest", region.uncertain && "uncertain"].filter(Boolean).join(" "),
  }));
  return [...named, ...drafts().map(draftRegion)];
}

function draftRegion(box, index) {
  const user = numberOf(index);
  const colour = props.shown.colours[user - 1] || "#104dfd";
  const [x1, y1, x2, y2] = box.map(Math.round);
  const name = `Region ${user}, from ${x1}, ${y1} to ${x2}, ${y2}`;
  const ink = inkOn(colour);
  return { key: `u${user}`, box, user, colour, ink, isDraft: true, index, text: String(user), name, classes: "user draft" };
}

/** Black or white, whichever reads better on a colour. */
function inkOn(colour) {
  const [r, g, b] = [1, 3, 5].map((at) => (parseInt(colour.slice(at, at + 2), 16) / 255) ** 2.2);
  return 0.2126 * r + 0.7152 * g + 0.0722 * b > 0.18 ? "#000" : "#fff";
}

/** Proposals that no other box covers. */
function freeProposals() {
  const taken = regions();
  return props.shown.proposals.filter(
    ({ key, box }) => !taken.some((region) => region.key === key || overlap(region.box, box) > 0.8),
  );
}

function proposalRegion(proposal) {
  const text = `${proposal.key} · ${proposal.score.toFixed(2)}`;
  const name = `Proposal ${proposal.key}, objectness ${proposal.score.toFixed(2)}; Enter takes it`;
  return { ...proposal, score: "", text, name, isDraft: false, classes: "proposal" };
}

function render() {
  root.dataset.state = props.value?.image ? "ready" : "empty";
  const focused = layer.contains(document.activeElement) && document.activeElement.dataset.key;
  const proposals = local.exploring ? freeProposals().map(proposalRegion) : [];
  const all = [...proposals, ...regions()];
  const hinted = local.hinted && !local.exploring ? [{ ...proposalRegion(local.hinted), classes: "proposal hinted" }] : [];
  const byArea = [...all, ...hinted].sort((a, b) => area(b.box) - area(a.box));
  layer.replaceChildren(...byArea.map((region) => boxElement(region, size(), region.key === local.selected)));
  if (focused) layer.querySelector(`[data-key="${focused}"]`)?.focus({ preventScroll: true });
  layer.querySelector(`[data-key="${local.selected}"]`)?.classList.add("selected");
  const tool = root.querySelector("[data-do=explore]");
  tool.setAttribute("aria-pressed", local.exploring);
  tool.textContent = `${local.exploring ? "Hide" : "Show"} ${props.shown.proposals.length || ""} proposals`;
  drawChips(regions().filter((region) => region.user).sort((a, b) => a.user - b.user));
  placeMenu();
}

/** Put the menu of the selected box below it, or above where there is no room. */
function placeMenu() {
  const region = regions().find(({ key }) => key === local.selected);
  menu.hidden = !region || Boolean(local.gesture);
  if (menu.hidden) return;
  const { width, height } = size();
  const [x1, y1, x2, y2] = region.box;
  const below = y2 / height < 0.85;
  menu.style.top = below ? `calc(${(100 * y2) / height}% + 6px)` : "auto";
  menu.style.bottom = below ? "auto" : `calc(${100 - (100 * Math.max(y1, 0.15 * height)) / height}% + 6px)`;
  menu.style.left = `clamp(0px, ${(100 * x1) / width}%, 100% - 175px)`;
  menu.querySelector("[data-do=delete]").hidden = !region.isDraft;
}

function showLinks(keys, dims) {
  if (local.gesture) return;
  light(root, keys);
  const lit = dims ? [...regions(), ...props.shown.proposals].filter(({ key }) => keys.includes(key)) : [];
  drawShade(stage.querySelector(".groma-shade"), lit.map(({ box }) => box), size());
}

function say(text) {
  hint.textContent = text;
}

function select(key) {
  local.selected = key;
  render();
}

function saveBoxes(boxes) {
  props.value = { ...props.value, boxes };
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
  forgetMention(number);
  stage.focus({ preventScroll: true });
}

function ask(key) {
  const region = regions().find((one) => one.key === key);
  if (!region) return;
  if (!region.user) addBox(region.box);
  mention(region.user || numberOf(drafts().length - 1));
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

// Gestures -----------------------------------------------------------------------------------------

function pointOf(event) {
  const frame = image.getBoundingClientRect();
  const { width, height } = size();
  return [((event.clientX - frame.left) / frame.width) * width, ((event.clientY - frame.top) / frame.height) * height];
}

function startGesture(event) {
  if (event.button || !event.isPrimary || menu.contains(event.target)) return;
  event.preventDefault();
  const selected = regions().find(({ key, isDraft }) => key === local.selected && isDraft);
  const handle = event.target.dataset.handle;
  const inside = selected && event.target.closest(".groma-box")?.dataset.key === selected.key;
  const kind = handle ? "resize" : inside ? "move" : "draw";
  local.gesture = { kind, handle, from: pointOf(event), at: [event.clientX, event.clientY], old: selected, moved: false };
  local.hinted = null;
  stage.setPointerCapture(event.pointerId);
}

function continueGesture(event) {
  const gesture = local.gesture;
  if (!gesture) return hintProposal(event);
  const [x, y] = pointOf(event);
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
  if (box && (box[2] - box[0] < 1 || box[3] - box[1] < 1)) saveBoxes(drafts().filter((one) => one !== box));
  render();
  layer.querySelector(".selected")?.focus({ preventScroll: true });
}

/** Outline what a click would take. */
function hintProposal(event) {
  if (event.pointerType !== "mouse" || menu.contains(event.target)) return;
  const point = pointOf(event);
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

// Keyboard -----------------------------------------------------------------------------------------

const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

function pressKey(event) {
  if (menu.contains(event.target)) return;
  const key = event.target.dataset.key;
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

// Pictures -----------------------------------------------------------------------------------------

async function takePicture(file) {
  say("Uploading …");
  try {
    const { path, url } = await upload(file);
    select(null);
    props.value = { image: { path, url, orig_name: file.name, meta: { _type: "gradio.FileData" } }, boxes: [] };
    sync();
    trigger("picture");
  } catch {
    say("The picture could not be uploaded; it may be too large.");
  }
}

/** Show what `props` say. */
function sync() {
  const url = props.value?.image?.url || "";
  if (url !== local.url) {
    local.url = url;
    local.selected = local.hinted = null;
    if (url) image.src = url;
    else image.removeAttribute("src");
    say(url ? HINT : "");
  }
  render();
}

image.addEventListener("load", () => {
  stage.style.setProperty("--ratio", size().width / size().height);
  render();
});

// Wiring -------------------------------------------------------------------------------------------

const camera = cameraPanel(root.querySelector(".groma-camera"), takePicture, say);
const lastUser = () => regions().filter((region) => region.user).at(-1);
const actions = {
  open: () => root.querySelector("input[type=file]").click(),
  camera: camera.open,
  shoot: camera.shoot,
  "close-camera": camera.close,
  explore: () => {
    local.exploring = !local.exploring;
    render();
  },
  fullscreen: () => (document.fullscreenElement ? document.exitFullscreen() : root.requestFullscreen()),
  ask: () => ask(local.selected),
  delete: () => {
    const region = regions().find(({ key }) => key === local.selected);
    if (region?.isDraft) deleteBox(region.index);
  },
};

root.addEventListener("click", (event) => {
  actions[event.target.closest("[data-do]")?.dataset.do]?.();
});
document.addEventListener("click", (event) => {
  if (!root.isConnected) return;
  const chip = event.target.closest(".groma-chip");
  const quick = event.target.closest("[data-fill]");
  const selected = regions().find(({ key, user }) => user && key === local.selected);
  if (chip) mention(Number(chip.dataset.number));
  if (quick) fillQuestion(quick.dataset, (selected || lastUser())?.user, say);
});
stage.addEventListener("pointerdown", startGesture);
stage.addEventListener("pointermove", continueGesture);
stage.addEventListener("pointerup", endGesture);
stage.addEventListener("pointercancel", endGesture);
stage.addEventListener("pointerleave", leaveStage);
stage.addEventListener("keydown", pressKey);
listenForPictures(root, takePicture);
listenForLinks(root, showLinks);
listenForMentions(root, () => regions().filter(({ user }) => user).map(({ user }) => user));
watch(["value", "shown"], sync);
sync();
