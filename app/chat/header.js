// Who answers: a list of the models at hand, and what the chosen one knows.

/** Begin with a component of Gradio, whose `js_on_load` has these. */
export function start({ element, trigger, props, watch }) {
  const select = element.querySelector("select");
  const note = element.querySelector("[role=status]");

  function say(...words) {
    note.textContent = words.filter(Boolean).join(" ");
  }

  function sayWhoComes(model) {
    say("is being made ready; it", props.notes[model], props.notice);
  }

  function show() {
    select.value = props.coming || props.value;
    if (props.coming) sayWhoComes(props.coming);
    else say(props.adapter && `with the adapter ${props.adapter}`, props.notes[props.value], props.notice);
  }

  select.replaceChildren(...Object.keys(props.notes).map((name) => new Option(name, name)));
  select.addEventListener("change", () => {
    sayWhoComes(select.value); // others may be before in the line
    trigger("switch", { name: select.value });
  });
  watch(Object.keys(props), show);
  show();
}
