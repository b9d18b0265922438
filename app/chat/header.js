// Who answers: a list of the models at hand and of adapters for the first one, and what the chosen
// one knows.

/** Begin with a component of Gradio, whose `js_on_load` has these. */
export function start({ element, trigger, props, watch }) {
  const select = element.querySelector("select");
  const note = element.querySelector("[role=status]");

  function say(...words) {
    note.textContent = words.filter(Boolean).join(" ");
  }

  function sayWhoComes(model, adapter) {
    if (adapter) say("is being made ready.");
    else say("is being made ready; it", props.notes[model], props.notice);
  }

  /** One choice of the list; a model by itself has no adapter. */
  function option(name, adapter = "") {
    return new Option(adapter ? `${name} with ${adapter}` : name, JSON.stringify([name, adapter]));
  }

  function show() {
    const models = Object.keys(props.notes);
    // An adapter in use is always among them, also one that somebody has removed meanwhile.
    const adapters = [...new Set([...props.adapters, props.adapter])].filter(Boolean);
    const choices = [...models.map((name) => option(name)), ...adapters.map((name) => option(models[0], name))];
    select.replaceChildren(...choices);
    const { coming } = props;
    const chosen = coming in props.notes ? [coming, ""] : [models[0], coming];
    select.value = JSON.stringify(coming ? chosen : [props.value, props.adapter]);
    if (coming) sayWhoComes(...chosen);
    else say(props.adapter && "The adapter answers; without it the model", props.notes[props.value], props.notice);
  }

  select.addEventListener("change", () => {
    const [name, adapter] = JSON.parse(select.value);
    sayWhoComes(name, adapter); // others may be before in the line
    trigger("switch", { name, adapter });
  });
  watch(Object.keys(props), show);
  show();
}
