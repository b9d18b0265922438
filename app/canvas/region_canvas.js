// What brings the canvas to life: new pictures, news from the server, buttons and listeners.

import { placeLabels } from "./boxes.js";
import { FIRST, HINT, regionCanvas } from "./canvas.js";
import { listenForGestures } from "./gestures.js";
import { keepInTab } from "./kept.js";
import { listenForLinks } from "./links.js";
import { listenForMentions } from "./mentions.js";
import { cameraPanel, listenForPictures } from "./picture.js";
import { questionBox } from "./question_box.js";

/** Begin with a component of Gradio, whose `js_on_load` has these. */
export function start({ element, trigger, props, upload, watch }) {
  const findQuestion = () => element.querySelector("[data-question]") || document.querySelector("#groma-question textarea");
  const question = questionBox(findQuestion);
  const canvas = regionCanvas({ element, props, trigger }, question);
  const { root, stage, image, layer, local, size, regions, render, showLinks, say, select, ask, deleteBox } = canvas;

  async function takePicture(file) {
    if (!root.dispatchEvent(new Event("groma:replace", { cancelable: true }))) return;
    say("Uploading …");
    try {
      const { path, url } = await upload(file);
      select(null);
      props.value = { ...props.value, image: { path, url, orig_name: file.name, meta: { _type: "gradio.FileData" } }, boxes: [] };
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
      camera.close();
      if (url) image.src = url;
      else image.removeAttribute("src");
    }
    say(url ? HINT : "");
    // What was drawn and has been asked about is no longer in anybody's hands.
    if (!regions().some(({ key, isDraft, user }) => key === local.selected && (isDraft || !user))) local.selected = null;
    render();
  }

  image.addEventListener("load", () => {
    stage.style.setProperty("--ratio", size().width / size().height);
    render();
  });

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

  /** Ask without the question box, unless an answer is being made. */
  function askQuickly(question) {
    if (document.querySelector("#groma-question .submit-button")) trigger("quick", { question });
  }

  root.addEventListener("click", (event) => {
    actions[event.target.closest("[data-do]")?.dataset.do]?.();
  });
  document.addEventListener("click", (event) => {
    // Of several canvases only that in sight is meant.
    if (!root.checkVisibility()) return;
    const chip = event.target.closest(".groma-chip");
    const stop = event.target.closest("#groma-question .stop-button");
    if (stop && !document.querySelector("#groma-talk :is(.groma-wait, .groma-cursor)")) trigger("withdraw");
    const quick = event.target.closest("[data-fill]");
    const selected = regions().find(({ key, user }) => user && key === local.selected);
    const example = event.target.closest("[data-example]");
    if (example) trigger("example", { index: Number(example.dataset.example) });
    if (chip) question.mention(Number(chip.dataset.number));
    const ways = { complain: say, first: FIRST, ask: askQuickly };
    if (quick) question.quick(quick.dataset, (selected || lastUser())?.user, ways);
  });
  const fullscreen = root.querySelector("[data-do=fullscreen]");
  fullscreen.hidden = !document.fullscreenEnabled;
  root.addEventListener("fullscreenchange", () => {
    fullscreen.textContent = document.fullscreenElement ? "Leave full screen" : "Full screen";
  });
  listenForPictures(root, takePicture);
  listenForLinks(root, showLinks);
  new ResizeObserver(() => placeLabels(layer)).observe(stage);
  listenForGestures(canvas);
  listenForMentions(canvas);
  keepInTab(canvas, watch);
  watch(["value", "shown"], sync);
  sync();
  return canvas;
}
