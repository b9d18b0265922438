// The conversation: on a phone, where the page scrolls, its newest turn is kept in sight; answers can be corrected.

const PHONE = matchMedia("(max-width: 640px)");
const ROOM = 10;

/** Begin with a component of Gradio, whose `js_on_load` has these. */
export function start({ element, trigger }) {
  /** From a question to its answer's end, unless somebody scrolls. */
  let isFollowing = false;

  function follow() {
    const answer = [...element.querySelectorAll(".groma-answer")].at(-1);
    if (!answer || !PHONE.matches) return;
    if (answer.querySelector(".groma-wait")) isFollowing = true;
    if (isFollowing) bringIntoView(answer);
    if (!answer.querySelector(".groma-wait, .groma-cursor")) isFollowing = false;
  }

  /** Its end above the question box, or at least its beginning below the picture. */
  function bringIntoView(answer) {
    const low = document.querySelector(".groma-asking").getBoundingClientRect().top - ROOM;
    const high = document.querySelector(".groma-picture .groma-stage").getBoundingClientRect().bottom + ROOM;
    const below = answer.getBoundingClientRect().bottom - low;
    const above = answer.previousElementSibling.getBoundingClientRect().top - high;
    if (below > 0) window.scrollBy(0, below);
    else if (above < 0) window.scrollBy(0, Math.max(above, below));
  }

  new MutationObserver(follow).observe(element, { childList: true, subtree: true });
  ["wheel", "touchmove"].forEach((name) => window.addEventListener(name, () => (isFollowing = false), { passive: true }));

  element.addEventListener("click", ({ target }) => {
    const button = target.closest("[data-correct]");
    if (button) trigger("edit", { place: Number(button.dataset.correct) });
  });
}
