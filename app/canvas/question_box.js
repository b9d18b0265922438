// The question box: what is written there, and the regions that it mentions.

/**
 * @param {() => HTMLTextAreaElement | null} find the box, once the page has it
 */
export function questionBox(find) {
  /** The last question that was filled in for the user. */
  let filled = "";

  /** Put text into the question box as if it had been typed. */
  function write(text) {
    const box = find();
    Object.getOwnPropertyDescriptor(HTMLTextAreaElement.prototype, "value").set.call(box, text);
    box.dispatchEvent(new Event("input", { bubbles: true }));
  }

  /** The same, to go on typing there. */
  function set(text, start = text.length, end = start) {
    const box = find();
    if (!box) return;
    write(text);
    box.focus({ preventScroll: true });
    box.setSelectionRange(start, end);
  }

  /** Mention a region where the cursor is, or before the sentence ends; no question becomes "What is [K]?". */
  function mention(number) {
    const { value, selectionStart, selectionEnd } = find();
    if (!value.trim() || (value === filled && !value.includes("…"))) {
      filled = `What is [${number}]?`;
      return set(filled);
    }
    const isAtEnd = selectionStart === value.length;
    const at = isAtEnd ? value.search(/[\s.?!]*$/) : selectionStart;
    const before = value.slice(0, at);
    const space = before && !before.endsWith(" ") ? " " : "";
    const text = `${before}${space}[${number}]`;
    set(text + value.slice(isAtEnd ? at : selectionEnd), text.length);
  }

  /** Whether the user wrote what is there. */
  const isOwn = (value) => Boolean(value.trim()) && value !== filled;

  /** Ask about a region, or mention it in what the user has begun to write. */
  function about(number, ask) {
    const { value } = find();
    if (isOwn(value)) return mention(number);
    if (value) write("");
    ask(`What is [${number}]?`);
  }

  /** A question that is about to be filled in for the user by the server. */
  function expect(text) {
    filled = text;
  }

  /** Keep the numbers in the question true after drawn region `gone` was deleted. */
  function forget(gone) {
    const box = find();
    if (!box || !box.value.includes("[")) return;
    const renumber = (all, digits) => {
      const number = Number(digits);
      if (number === gone) return "";
      return number > gone ? `[${number - 1}]` : all;
    };
    set(box.value.replace(/\[(\d+)\]/g, renumber));
  }

  /** Ask a quick question, or fill it in; "[#]" becomes the region, and what is left open "…" is selected.
   *  What the user wrote stays in the box. */
  function quick({ fill, send }, number, { complain, first, ask }) {
    const { value } = find();
    const text = fill.replace("[#]", number ? `[${number}]` : "…");
    const open = text.indexOf("…");
    if (send !== undefined) {
      if (open >= 0) return complain(first);
      if (value && !isOwn(value)) write("");
      return ask(text);
    }
    if (isOwn(value)) return complain("Your own question is in the box; ask it or delete it first.");
    filled = text;
    set(text, open < 0 ? text.length : open, open < 0 ? text.length : open + 1);
  }

  return { find, set, mention, about, expect, forget, quick };
}
