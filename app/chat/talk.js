// The conversation: its newest words stay in sight, and what the buttons of its turns do.

/** Where the page scrolls, and the conversation does not. */
const PHONE = matchMedia("(max-width: 640px) and (min-height: 560px)");
const ROOM = 10;
const AT_END = 40;
const SECONDS_OF_THANKS = 1.5;
/** Until everything on the page has its place. */
const SECONDS_TO_SETTLE = 0.4;

/** Begin with a component of Gradio, whose `js_on_load` has these. */
export function start({ element, trigger }) {
  /** The part of the page that scrolls; on a phone the page itself does. */
  const frame = document.querySelector("#groma-talk .html-container") || element;
  /** Until somebody scrolls up; a new question, or another talk, is followed again. */
  let isFollowing = true;
  let [count, isGrowing] = [0, false];
  const spoken = document.createElement("div");
  spoken.className = "groma-spoken";
  spoken.setAttribute("role", "status");
  document.body.append(spoken);

  function follow() {
    const answers = element.querySelectorAll(".groma-answer");
    const answer = [...answers].at(-1);
    if (answers.length !== count) isFollowing = true;
    count = answers.length;
    tell(answer);
    document.dispatchEvent(new Event("groma:talk"));
    if (!isFollowing) return;
    if (!PHONE.matches) frame.scrollTop = frame.scrollHeight;
    else if (answer) bringIntoView(answer);
    if (PHONE.matches && !isGrowing) setTimeout(settle, 1000 * SECONDS_TO_SETTLE);
  }

  function settle() {
    const answer = [...element.querySelectorAll(".groma-answer")].at(-1);
    if (isFollowing && answer) bringIntoView(answer);
    isFollowing &&= isGrowing;
  }

  /** Say that an answer begins, and all of it once it is there. */
  function tell(answer) {
    const wasGrowing = isGrowing;
    isGrowing = Boolean(answer?.querySelector(".groma-wait, .groma-cursor"));
    if (isGrowing && !wasGrowing) spoken.textContent = "Groma is answering.";
    if (wasGrowing && !isGrowing) spoken.textContent = answer ? `Groma: ${answer.innerText}` : "";
  }

  /** Its end above the question box, or at least its beginning below the picture. */
  function bringIntoView(answer) {
    const low = document.querySelector(".groma-asking").getBoundingClientRect().top - ROOM;
    const high = document.querySelector(".groma-picture .groma-view").getBoundingClientRect().bottom + ROOM;
    const turn = answer.parentElement.getBoundingClientRect();
    const [below, above] = [turn.bottom - low, turn.top - high];
    if (below > 0) window.scrollBy(0, below);
    else if (above < 0) window.scrollBy(0, Math.max(above, below));
  }

  async function copy(button) {
    const answer = element.querySelectorAll(".groma-answer")[Number(button.dataset.copy)].cloneNode(true);
    answer.querySelectorAll(".groma-ending, .groma-author").forEach((note) => note.remove());
    answer.querySelectorAll("br").forEach((line) => line.replaceWith("\n"));
    button.textContent = (await write(answer.textContent.trim())) ? "Copied" : "Not copied";
    setTimeout(() => (button.textContent = "Copy"), 1000 * SECONDS_OF_THANKS);
  }

  /** A page without https has no clipboard but that of its selection. */
  async function write(text) {
    try {
      await navigator.clipboard.writeText(text);
      return true;
    } catch {
      const field = Object.assign(document.createElement("textarea"), { value: text });
      document.body.append(field);
      field.select();
      const isCopied = document.execCommand("copy");
      field.remove();
      return isCopied;
    }
  }

  new MutationObserver(follow).observe(element, { childList: true, subtree: true });
  ["wheel", "touchmove"].forEach((name) => window.addEventListener(name, () => (isFollowing &&= !PHONE.matches), { passive: true }));
  frame.addEventListener("scroll", () => {
    if (!PHONE.matches) isFollowing = frame.scrollHeight - frame.scrollTop - frame.clientHeight < AT_END;
  });

  element.addEventListener("click", ({ target }) => {
    const button = target.closest("[data-copy], [data-edit], [data-correct], [data-restore]");
    const { copy: copied, edit, correct, restore } = button?.dataset || {};
    if (copied) copy(button);
    if (edit) trigger("rewrite", { place: Number(edit) });
    if (correct) trigger("edit", { place: Number(correct) });
    if (restore) trigger("restore");
  });
}
