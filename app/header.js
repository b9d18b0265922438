// Who answers: a list of the models at hand, and what the chosen one knows.

const select = element.querySelector("select");
const note = element.querySelector("[role=status]");
const COMING = "is being made ready …";

function show() {
  select.value = props.coming || props.value;
  const adapter = props.adapter && `with the adapter ${props.adapter} `;
  const words = props.coming ? COMING : `${adapter}${props.notes[props.value]} ${props.notice}`;
  note.textContent = words.trim();
}

select.replaceChildren(...Object.keys(props.notes).map((name) => new Option(name, name)));
select.addEventListener("change", () => {
  note.textContent = COMING; // others may be before in the line
  trigger("switch", { name: select.value });
});
watch(Object.keys(props), show);
show();
