// The list of keys: `?` shows and hides it, where nobody is writing.

/** Begin with a component of Gradio, whose `js_on_load` has this. */
export function start({ element }) {
  const help = element.querySelector("details");
  document.addEventListener("keydown", (event) => {
    if (event.key !== "?" || event.target.matches("input, textarea, select") || !element.checkVisibility()) return;
    event.preventDefault();
    help.open = !help.open;
    if (help.open) help.querySelector("summary").focus();
  });
}
