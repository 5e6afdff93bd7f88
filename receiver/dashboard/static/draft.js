// Reads a file into the text of a draft. Without a script one pastes it.
(() => {
  "use strict";
  const label = document.getElementById("from-file");
  const text = document.querySelector("textarea[name=text]");
  const file = label?.querySelector("input");
  if (!file || !text) return;
  label.hidden = false;
  file.addEventListener("change", async () => {
    if (file.files.length) text.value = await file.files[0].text();
  });
})();
