"use strict";
const at = (id) => document.getElementById(id);
const SVG = "http://www.w3.org/2000/svg";
let labels = [];      // tags in class-id order
let hues = new Map(); // entity type → hue
let receipts = [];    // what the text area holds, parsed
let lit = null;       // entity type chosen in the legend

const SAMPLE = {
  image_id: "sample", width: 400, height: 420,
  words: [
    ["CORNER", 110, 20, 190, 42], ["BAKERY", 198, 20, 280, 42], ["12", 120, 52, 140, 68], ["Mill", 146, 52, 180, 68],
    ["Lane", 186, 52, 226, 68], ["Tel", 130, 78, 154, 94], ["555-0142", 160, 78, 240, 94],
    ["03/14/2024", 40, 112, 130, 128], ["18:42", 310, 112, 356, 128], ["Sourdough", 40, 150, 128, 168],
    ["6.50", 318, 150, 356, 168], ["Espresso", 40, 178, 112, 196], ["2.80", 318, 178, 356, 196],
    ["Croissant", 40, 206, 116, 224], ["3.20", 318, 206, 356, 224], ["SUBTOTAL", 40, 250, 126, 268],
    ["12.50", 310, 250, 356, 268], ["TAX", 40, 276, 72, 294], ["1.00", 318, 276, 356, 294],
    ["TOTAL", 40, 306, 100, 328], ["13.50", 304, 306, 356, 328], ["Thank", 130, 360, 180, 378], ["you!", 188, 360, 226, 378],
  ].map(([text, ...box], word_id) => ({ line_id: 0, word_id, text, box })),
};

function make(tag, attributes = {}, ...children) {
  const svg = ["svg", "g", "rect", "text"].includes(tag);
  const element = svg ? document.createElementNS(SVG, tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

const percent = (p) => (100 * p).toFixed(p > 0.9995 || p < 0.1 ? 1 : 0) + " %";

function fail(message) {
  at("error").textContent = message;
  at("error").hidden = !message;
}

// The model: its labels give every entity type a colour that stays the same from receipt to receipt.
async function askModel() {
  try {
    const answer = await fetch("v1/model");
    const model = await answer.json();
    if (answer.status === 503) {
      at("model").textContent = model.error.message + " …";
      setTimeout(askModel, 1000);
      return;
    }
    if (!answer.ok) throw new Error(model.error.message);
    labels = model.labels;
    const types = [...new Set(labels.filter((l) => l !== "O").map((l) => l.slice(2)))].sort();
    hues = new Map(types.map((type, i) => [type, Math.round((i * 360) / types.length + 15) % 360]));
    const name = model.source.job_name || model.source.checkpoint || "model";
    at("model").textContent = `${name}, ${model.variant}, ${types.length} entity types, encoding ${model.fingerprint.slice(0, 12)}`;
  } catch (error) {
    at("model").textContent = "The server does not answer: " + error.message;
    setTimeout(askModel, 3000);
  }
}

// Text → receipts: an object, a list, {"receipts": […]} or one object per line.
function read(text) {
  if (!text.trim()) throw new Error("Paste a receipt, drop a file, or try the sample.");
  let value;
  try {
    value = JSON.parse(text);
  } catch (error) {
    const lines = text.split("\n").filter((line) => line.trim());
    try {
      if (lines.length < 2) throw error;
      value = lines.map((line) => JSON.parse(line));
    } catch {
      throw new Error("This is not JSON: " + error.message);
    }
  }
  const list = Array.isArray(value) ? value : value && Array.isArray(value.receipts) ? value.receipts : [value];
  if (!list.length) throw new Error("The list holds no receipt.");
  return list;
}

function offer(text) {
  at("json").value = text;
  receipts = [];
  try {
    receipts = read(text);
  } catch { /* said when sent */ }
  at("which-label").hidden = receipts.length < 2;
  at("which").replaceChildren(...receipts.slice(0, 1000).map((r, i) =>
    make("option", { value: i }, `${i + 1} of ${receipts.length}${r && r.image_id ? " · " + r.image_id : ""}`)));
}

async function send() {
  fail("");
  const chosen = Number(at("which").value) || 0;
  try {
    receipts = read(at("json").value);
  } catch (error) {
    return fail(error.message);
  }
  const receipt = receipts[Math.min(chosen, receipts.length - 1)];
  const query = new URLSearchParams({ probabilities: "true" });
  for (const name of ["unit", "origin"]) if (at(name).value) query.set(name, at(name).value);
  at("send").disabled = true;
  try {
    const body = JSON.stringify(receipt);
    const answer = await fetch("v1/classify?" + query, { method: "POST", headers: { "content-type": "application/json" }, body });
    const result = await answer.json();
    if (answer.ok) show(receipt, result);
    else fail(`${result.error.message} (${result.error.code})`);
  } catch (error) {
    fail("The server does not answer: " + error.message);
  } finally {
    at("send").disabled = false;
  }
}

// The page's size and a function from a raw box to [x, y, width, height] with y downwards.
function geometry(receipt) {
  const unit = receipt.unit || at("unit").value || "pixels";
  const origin = receipt.origin || at("origin").value || "top_left";
  const boxes = receipt.words.map((w) => w.box || w.bbox);
  const reach = (a, b) => Math.max(1e-9, ...boxes.map((box) => Math.max(box[a], box[b])));
  const side = { relative: 1, thousandths: 1000 }[unit];
  const width = side || receipt.width || reach(0, 2);
  const height = side || receipt.height || reach(1, 3);
  const ratio = side && receipt.width && receipt.height ? receipt.height / receipt.width : side ? 1.4 : height / width;
  const [W, H] = [1000, Math.min(6000, Math.max(150, 1000 * ratio))];
  const place = ([x0, y0, x1, y1]) => {
    if (origin === "bottom_left") [y0, y1] = [height - y1, height - y0];
    const [left, right] = [Math.min(x0, x1), Math.max(x0, x1)];
    const [top, bottom] = [Math.min(y0, y1), Math.max(y0, y1)];
    return [(left / width) * W, (top / height) * H, Math.max(2, ((right - left) / width) * W), Math.max(2, ((bottom - top) / height) * H)];
  };
  return { W, H, place };
}

function paint(element, type) {
  if (!type) return;
  element.classList.add("typed");
  element.style.setProperty("--hue", hues.get(type) ?? 0);
}

function show(receipt, result) {
  lit = null;
  hush();
  const { W, H, place } = geometry(receipt);
  const svg = make("svg", { viewBox: `0 0 ${W} ${H}`, role: "group", "aria-label": "Words of the receipt" });
  const groups = result.words.map((word, i) => {
    const [x, y, width, height] = place(receipt.words[i].box || receipt.words[i].bbox);
    const label = `${word.text}: ${word.label}, ${percent(word.confidence)}`;
    const group = make("g", { class: "word", tabindex: i ? -1 : 0, role: "img", "aria-label": label });
    paint(group, word.entity);
    if (word.entity) group.dataset.type = word.entity;
    if (word.entity && word.confidence < 0.5) group.classList.add("unsure");
    const text = make("text", { x, y: y + height * 0.78, "font-size": Math.max(4, height * 0.8) }, word.text.slice(0, 80));
    if (word.text.length > 1) {
      text.setAttribute("textLength", width);
      text.setAttribute("lengthAdjust", "spacingAndGlyphs");
    }
    group.append(make("rect", { x, y, width, height, rx: 2 }), text);
    for (const event of ["pointerenter", "focus"]) group.addEventListener(event, () => tell(group, word));
    for (const event of ["pointerleave", "blur"]) group.addEventListener(event, hush);
    group.addEventListener("keydown", (event) => step(event, groups, i));
    return group;
  });
  svg.append(...groups);
  at("paper").replaceChildren(svg);
  legend(result, groups);
  table(result, groups);
  const found = result.words.filter((w) => w.entity).length;
  const time = result.timings ? `, ${result.timings.total_ms.toFixed(1)} ms` : "";
  at("summary").textContent = `${result.words.length} words, ${found} labelled, ${result.entities.length} entities${time}`;
  at("output").hidden = at("fields").hidden = false;
  if (matchMedia("(max-width: 60rem)").matches) at("output").scrollIntoView({ behavior: "smooth" });
}

function step(event, groups, i) {
  const to = { ArrowRight: i + 1, ArrowDown: i + 1, ArrowLeft: i - 1, ArrowUp: i - 1, Home: 0, End: groups.length - 1 }[event.key];
  if (event.key === "Escape") hush();
  if (to === undefined || !groups[to]) return;
  event.preventDefault();
  groups[i].setAttribute("tabindex", -1);
  groups[to].setAttribute("tabindex", 0);
  groups[to].focus();
}

function tell(group, word) {
  const rows = (word.no_tokens ? [] : word.probabilities)
    .map((p, i) => [p, labels[i]]).sort((a, b) => b[0] - a[0]).slice(0, 4)
    .map(([p, label]) => make("div", {}, make("span", {}, label || "?"), make("span", {}, percent(p))));
  const note = word.no_tokens ? [make("div", {}, "O: the tokenizer finds nothing in this word.")] : [];
  at("tip").replaceChildren(make("b", {}, word.text.slice(0, 200)), ...rows, ...note);
  at("tip").hidden = false;
  const box = group.getBoundingClientRect(), tip = at("tip").getBoundingClientRect();
  const below = box.bottom + 8 + tip.height < innerHeight;
  at("tip").style.left = Math.max(4, Math.min(box.left, innerWidth - tip.width - 4)) + "px";
  at("tip").style.top = Math.max(4, below ? box.bottom + 8 : box.top - tip.height - 8) + "px";
}

function hush() {
  at("tip").hidden = true;
}

function swatch(type) {
  const element = make("span", { class: "swatch" });
  paint(element, type);
  return element;
}

function legend(result, groups) {
  const counts = new Map();
  for (const word of result.words) if (word.entity) counts.set(word.entity, (counts.get(word.entity) || 0) + 1);
  const entries = [...counts].sort().map(([type, count]) => {
    const button = make("button", { type: "button", "aria-pressed": "false" }, swatch(type), `${type} · ${count}`);
    button.addEventListener("click", () => {
      lit = lit === type ? null : type;
      for (const other of at("legend").querySelectorAll("button")) other.setAttribute("aria-pressed", String(other === button && lit === type));
      for (const group of groups) group.classList.toggle("dim", lit !== null && group.dataset.type !== lit);
    });
    return make("li", {}, button);
  });
  at("legend").replaceChildren(...entries);
}

const written = (value) => value === null || value === undefined ? "" : typeof value === "object" ? Object.values(value).filter((v) => v !== null).join(" ") : String(value);

function table(result, groups) {
  const rows = result.entities.map((entity) => {
    const row = make("tr", { tabindex: 0 }, make("td", {}, swatch(entity.type), entity.type), make("td", {}, entity.text),
      make("td", {}, written(entity.value)), make("td", {}, percent(entity.confidence)));
    const light = (on) => () => entity.word_indices.forEach((i) => groups[i] && groups[i].classList.toggle("lit", on));
    for (const event of ["pointerenter", "focus"]) row.addEventListener(event, light(true));
    for (const event of ["pointerleave", "blur"]) row.addEventListener(event, light(false));
    return row;
  });
  at("entities").replaceChildren(...rows);
  at("no-entities").hidden = rows.length > 0;
}

async function open(file) {
  if (!file) return;
  if (file.size > 64e6) return fail("The file is larger than 64 MB.");
  offer(await file.text());
  send();
}

at("send").addEventListener("click", send);
at("sample").addEventListener("click", () => { offer(JSON.stringify(SAMPLE)); send(); });
at("file").addEventListener("change", (event) => { open(event.target.files[0]); event.target.value = ""; });
at("which").addEventListener("change", send);
at("json").addEventListener("input", () => offer(at("json").value));
document.addEventListener("keydown", (event) => { if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) send(); });
document.addEventListener("dragover", (event) => { event.preventDefault(); document.body.classList.add("dropping"); });
document.addEventListener("dragleave", (event) => { if (!event.relatedTarget) document.body.classList.remove("dropping"); });
document.addEventListener("drop", (event) => { event.preventDefault(); document.body.classList.remove("dropping"); open(event.dataTransfer.files[0]); });
addEventListener("scroll", hush, { passive: true });
askModel();
