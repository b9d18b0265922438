// What brings the canvas to life: new pictures, news from the server, buttons and listeners.

import { FIRST, TOUCH, regionCanvas } from "./canvas.js";
import { placeLabels } from "./elements.js";
import { listenForGestures } from "./gestures.js";
import { keepInTab } from "./kept.js";
import { listenForLinks } from "./links.js";
import { listenForMentions } from "./mentions.js";
import { cameraPanel, listenForPictures } from "./picture.js";
import { questionBox } from "./question_box.js";
import { zoomable } from "./zoom.js";

/** Begin with a component of Gradio, whose `js_on_load` has these. */
export function start({ element, trigger, props, upload, watch }) {
  const findQuestion = () => element.querySelector("[data-question]") || document.querySelector("#groma-question textarea");
  const question = questionBox(findQuestion);
  const canvas = regionCanvas({ element, props, trigger }, question);
  const { root, view, stage, image, layer, local, size, regions, render, placeMenu, showLinks, say, sayHint, select, take, ask, deleteShape, undoStroke } = canvas;
  const zoom = zoomable(canvas, drawAgain);

  async function takePicture(file) {
    if (!root.dispatchEvent(new Event("groma:replace", { cancelable: true }))) return;
    say("Uploading …");
    try {
      const { path, url } = await upload(file);
      select(null);
      props.value = { ...props.value, image: { path, url, orig_name: file.name, meta: { _type: "gradio.FileData" } }, regions: [] };
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
      zoom.zoomBy(0);
      camera.close();
      if (url) image.src = url;
      else image.removeAttribute("src");
    }
    if (!url) say("");
    else if (local.show === "masks" && props.shown.masks_by) say(`Masks by ${props.shown.masks_by}.`);
    else sayHint();
    if (props.shown.turns !== local.turns) local.turn = null;
    local.turns = props.shown.turns;
    askForMasks();
    // What was drawn and has been asked about is no longer in anybody's hands.
    if (!regions().some(({ key, isDraft, user }) => key === local.selected && (isDraft || !user))) local.selected = null;
    render();
  }

  image.addEventListener("load", () => {
    view.style.setProperty("--ratio", size().width / size().height);
    render();
  });

  const camera = cameraPanel(root.querySelector(".groma-camera"), takePicture, say);
  /** With the talk beside it, where there is one. */
  const whole = root.closest(".groma-picture") ? document.documentElement : root;
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
    fullscreen: () => (document.fullscreenElement ? document.exitFullscreen() : whole.requestFullscreen()),
    ask: () => ask(local.selected),
    delete: () => {
      const region = regions().find(({ key }) => key === local.selected);
      if (region?.isDraft) deleteShape(region.index);
    },
    "undo-stroke": undoStroke,
    "zoom-in": () => zoom.zoomBy(1.5),
    "zoom-out": () => zoom.zoomBy(1 / 1.5),
    "zoom-whole": () => zoom.zoomBy(0),
  };

  /** What follows from the picture's place on the page. */
  function drawAgain() {
    placeLabels(layer);
    placeMenu();
  }

  /** Show what was found as boxes, as masks, or not at all. */
  function showAs(show) {
    Object.assign(local, { show, asked: "" });
    render();
    askForMasks();
  }

  /** Masks are made when somebody wants to see them, once. */
  function askForMasks() {
    const lacking = regions().filter(({ isDraft, isHere, polygons }) => !isDraft && isHere && !polygons).map(({ key }) => key).join();
    if (local.show !== "masks" || !lacking || lacking === local.asked || props.shown.growing) return;
    local.asked = lacking;
    trigger("masks", { turn: canvas.turn() });
  }

  /** Ask without the question box, unless an answer is being made. */
  function askQuickly(question) {
    if (document.querySelector("#groma-question .submit-button")) trigger("quick", { question });
    else say("Wait for the answer, or stop it.");
  }
  local.ask = askQuickly;

  root.addEventListener("click", (event) => {
    const { dataset = {} } = event.target.closest("[data-do], [data-tool], [data-show], [data-select]") || {};
    actions[dataset.do]?.();
    if (dataset.tool) take(dataset.tool);
    if (dataset.show) showAs(dataset.show);
    if (dataset.select) select(dataset.select);
  });
  /** Go on with an earlier talk. Of a double click once is enough; a key loses the button that it pressed. */
  function goBack({ target, detail }) {
    const former = target.closest("[data-former]");
    if (!former || detail > 1 || !root.checkVisibility()) return;
    trigger("former", { key: former.dataset.former });
    if (!detail) stage.focus({ preventScroll: true });
  }

  document.addEventListener("click", goBack);
  document.addEventListener("click", (event) => {
    // Of several canvases only that in sight is meant.
    if (!root.checkVisibility()) return;
    const chip = event.target.closest(".groma-chip");
    const stop = event.target.closest("#groma-question .stop-button");
    if (stop && !document.querySelector("#groma-talk :is(.groma-wait, .groma-cursor)")) trigger("withdraw");
    const quick = event.target.closest("[data-fill]");
    const selected = regions().find(({ key, user }) => user && key === local.selected);
    const example = event.target.closest("[data-example]");
    const boxes = event.target.closest("#groma-talk [data-boxes]");
    if (boxes) canvas.showTurn(Number(boxes.dataset.boxes));
    if (example) question.expect(example.title);
    if (example) trigger("example", { index: Number(example.dataset.example) });
    if (chip) question.mention(Number(chip.dataset.number));
    const ways = { complain: say, first: FIRST, ask: askQuickly };
    if (quick) question.quick(quick.dataset, (selected || lastUser())?.user, ways);
  });
  const fullscreen = root.querySelector("[data-do=fullscreen]");
  fullscreen.hidden = !document.fullscreenEnabled;
  document.addEventListener("fullscreenchange", () => {
    fullscreen.textContent = document.fullscreenElement ? "Leave full screen" : "Full screen";
  });
  document.addEventListener("groma:talk", canvas.tieWords);
  if (TOUCH) root.querySelectorAll("[data-touch]").forEach((words) => (words.textContent = words.dataset.touch));
  listenForPictures(root, takePicture);
  listenForLinks(root, showLinks);
  new ResizeObserver(drawAgain).observe(view);
  listenForGestures(canvas, zoom);
  listenForMentions(canvas);
  keepInTab(canvas, watch);
  watch(["value", "shown"], sync);
  sync();
  return canvas;
}
