// While an input method composes, its keys are its own: Enter takes a word, it neither sends nor chooses.
["keydown", "keypress"].forEach((type) =>
  window.addEventListener(
    type,
    (event) => {
      // Safari has ended composing when its last key comes, which has this number still.
      if (event.isComposing || event.keyCode === 229) event.stopImmediatePropagation();
    },
    true,
  ),
);
