// The receipt as boxes over its image, or over nothing; one word at a time can be looked at.
let groups = [];

function draw() {
  const { receipt, result, image } = state;
  hush();
  const { W, H, place } = geometry(receipt);
  const places = receipt.words.map((word) => place(word.box || word.bbox));
  const view = at("whole-page").checked ? [0, 0, W, H] : around(places, W, H);
  const svg = make("svg", { viewBox: view.join(" "), role: "group", "aria-label": "Words of the receipt" });
  if (image && at("show-image").checked) {
    svg.classList.add("photo");
    const shape = { href: image.url, x: 0, y: 0, width: W, height: H, preserveAspectRatio: "none" };
    svg.append(make("image", { ...shape, "aria-label": "Image of the receipt" }));
  }
  const gold = hasGold(receipt);
  groups = result.words.map((word, i) => {
    const [x, y, width, height] = places[i];
    const group = make("g", { class: "word", tabindex: i ? -1 : 0, role: "img", "aria-label": spoken(word) });
    paint(group, word.entity);
    if (word.entity) group.dataset.type = word.entity;
    group.classList.toggle("unsure", word.confidence < leastConfidence() && !word.no_tokens);
    group.classList.toggle("wrong", gold && goldType(receipt.words[i].label) !== word.entity);
    const text = make("text", { x, y: y + height * 0.78, "font-size": Math.max(4, height * 0.8) }, word.text.slice(0, 80));
    if (word.text.length > 1) {
      text.setAttribute("textLength", width);
      text.setAttribute("lengthAdjust", "spacingAndGlyphs");
    }
    group.append(make("rect", { x, y, width, height, rx: 2 }), text);
    for (const event of ["pointerenter", "focus"]) group.addEventListener(event, () => tell(group, word, i));
    for (const event of ["pointerleave", "blur"]) group.addEventListener(event, hush);
    group.addEventListener("keydown", (event) => step(event, i));
    return group;
  });
  svg.append(...groups);
  at("paper").replaceChildren(svg);
  dim();
}

// The part of the page that holds the words, with a margin: receipts are often small on their image.
function around(places, W, H) {
  const edge = (pick, of, start) => places.reduce((most, place) => pick(most, of(place)), start);
  const margin = 25;
  const left = Math.max(0, edge(Math.min, ([x]) => x, W) - margin), top = Math.max(0, edge(Math.min, ([, y]) => y, H) - margin);
  const right = Math.min(W, edge(Math.max, ([x, , w]) => x + w, 0) + margin), bottom = Math.min(H, edge(Math.max, ([, y, , h]) => y + h, 0) + margin);
  return right > left && bottom > top ? [left, top, right - left, bottom - top] : [0, 0, W, H];
}

const spoken = (word) => `${word.text}: ${word.label}, ${percent(word.confidence)}`;

function dim() {
  for (const group of groups) group.classList.toggle("dim", state.lit !== null && group.dataset.type !== state.lit);
}

function step(event, i) {
  const to = { ArrowRight: i + 1, ArrowDown: i + 1, ArrowLeft: i - 1, ArrowUp: i - 1, Home: 0, End: groups.length - 1 }[event.key];
  if (event.key === "Escape") hush();
  if (to === undefined || !groups[to]) return;
  event.preventDefault();
  groups[i].setAttribute("tabindex", -1);
  groups[to].setAttribute("tabindex", 0);
  groups[to].focus();
}

function tell(group, word, i) {
  const ranked = (word.no_tokens ? [] : word.probabilities).map((p, id) => [p, state.labels[id]]);
  const rows = ranked.sort((a, b) => b[0] - a[0]).slice(0, 4).map(([p, label]) => {
    const bar = make("i", { class: "bar" });
    bar.style.setProperty("--part", p);
    return make("div", {}, make("span", {}, label || "?"), bar, make("span", {}, percent(p)));
  });
  const notes = word.no_tokens ? ["O: the tokenizer finds nothing in this word."] : [];
  const label = state.receipt.words[i].label;
  if (typeof label === "string") notes.push(`gold: ${goldType(label) || "O"}`);
  const lines = notes.map((note) => make("div", {}, note));
  at("tip").replaceChildren(make("b", {}, word.text.slice(0, 200)), ...rows, ...lines);
  at("tip").hidden = false;
  const box = group.getBoundingClientRect(), tip = at("tip").getBoundingClientRect();
  const below = box.bottom + 8 + tip.height < innerHeight;
  at("tip").style.left = Math.max(4, Math.min(box.left, innerWidth - tip.width - 4)) + "px";
  at("tip").style.top = Math.max(4, below ? box.bottom + 8 : box.top - tip.height - 8) + "px";
}

function hush() {
  at("tip").hidden = true;
}

// Lights the words of a table row while it is looked at.
function lights(row, wordIndices) {
  const light = (on) => () => wordIndices.forEach((i) => groups[i] && groups[i].classList.toggle("lit", on));
  for (const event of ["pointerenter", "focus"]) row.addEventListener(event, light(true));
  for (const event of ["pointerleave", "blur"]) row.addEventListener(event, light(false));
  return row;
}
