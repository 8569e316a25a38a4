"use strict";
for (const tools of document.querySelectorAll(".tools")) {
  const items = [...document.getElementById(tools.dataset.of).children];
  const texts = items.map((item) => item.textContent.toLowerCase());
  const [search, open, close] = tools.querySelectorAll("input, button");
  const told = tools.querySelector("[role=status]");
  search.addEventListener("input", () => {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    let left = 0;
    items.forEach((item, number) => {
      item.hidden = !words.every((word) => texts[number].includes(word));
      left += item.hidden ? 0 : 1;
    });
    told.textContent = words.length ? left + " of " + items.length : "";
  });
  const fold = (opened) => () => {
    for (const item of items) {
      const part = item.querySelector("details");
      if (part && !item.hidden) part.open = opened;
    }
  };
  open.addEventListener("click", fold(true));
  close.addEventListener("click", fold(false));
  tools.hidden = false;
}
let closed = [];
window.addEventListener("beforeprint", () => {
  closed = [...document.querySelectorAll("details:not([open], .long)")];
  for (const part of closed) part.open = true;
});
window.addEventListener("afterprint", () => {
  for (const part of closed) part.open = false;
});
