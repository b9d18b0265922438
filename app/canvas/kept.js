// What the browser tab keeps, so that a page loaded again goes on where this one ended.

/** Keep what a canvas and its question box hold. */
export function keepInTab({ props, question, drafts }, watch) {
  /** Not before the server has answered: until then what the last page kept is still needed. */
  function keep() {
    if (!props.ticket) return;
    const kept = { ticket: props.ticket, regions: drafts(), question: question.find().value };
    try {
      sessionStorage.setItem("groma", JSON.stringify(kept));
    } catch {
      // A browser that allows no storage begins anew.
    }
  }

  watch(["ticket", "value"], keep);
  window.addEventListener("pagehide", keep);
  // A phone may drop a page that is out of sight without another word.
  document.addEventListener("visibilitychange", keep);
}
