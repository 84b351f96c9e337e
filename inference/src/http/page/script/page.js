// What the person does: choose, paste, drop, ask.
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
    state.labels = model.labels;
    state.scheme = model.encoding.scheme || null;
    // A type keeps its colour from receipt to receipt.
    const types = [...new Set(model.labels.filter((l) => l !== "O").map((l) => l.slice(2)))].sort();
    state.hues = new Map(types.map((type, i) => [type, Math.round((i * 360) / types.length + 15) % 360]));
    const name = model.source.job_name || model.source.checkpoint || "model";
    at("model").textContent = `${name}, ${model.variant}, ${types.length} entity types, encoding ${model.fingerprint.slice(0, 12)}`;
  } catch (error) {
    at("model").textContent = "The server does not answer: " + error.message;
    setTimeout(askModel, 3000);
  }
}

function offer(text) {
  at("json").value = text;
  state.receipts = [];
  try {
    state.receipts = read(text);
  } catch { /* said when sent */ }
  const { receipts } = state;
  at("which-label").hidden = receipts.length < 2;
  at("which").replaceChildren(...receipts.slice(0, 1000).map((r, i) =>
    make("option", { value: i }, `${i + 1} of ${receipts.length}${r && r.image_id ? " · " + r.image_id : ""}`)));
}

function query() {
  const query = new URLSearchParams({ line_items: "true", probabilities: "true" });
  for (const name of ["unit", "origin"]) if (at(name).value) query.set(name, at(name).value);
  return query;
}

async function send() {
  fail("");
  const chosen = Number(at("which").value) || 0;
  try {
    state.receipts = read(at("json").value);
  } catch (error) {
    return fail(error.message);
  }
  const receipt = state.receipts[Math.min(chosen, state.receipts.length - 1)];
  at("send").disabled = true;
  try {
    const headers = { "content-type": "application/json" };
    const answer = await fetch("v1/classify?" + query(), { method: "POST", headers, body: JSON.stringify(receipt) });
    const result = await answer.json();
    if (answer.ok) show(receipt, result);
    else fail(`${result.error.message} (${result.error.code})`);
  } catch (error) {
    fail("The server does not answer: " + error.message);
  } finally {
    at("send").disabled = false;
  }
}

function show(receipt, result) {
  Object.assign(state, { receipt, result, lit: null });
  redraw();
  legend();
  const found = result.words.filter((w) => w.entity).length;
  const time = result.timings ? `, ${result.timings.total_ms.toFixed(1)} ms` : "";
  at("summary").textContent = `${result.words.length} words, ${found} labelled, ${result.entities.length} entities${time}`;
  at("copied").textContent = "";
  at("output").hidden = at("fields").hidden = false;
  if (matchMedia("(max-width: 60rem)").matches) at("output").scrollIntoView({ behavior: "smooth" });
}

function redraw() {
  at("least-shown").textContent = percent(leastConfidence());
  at("image-label").hidden = !state.image;
  at("image-name").textContent = state.image ? state.image.name : "";
  if (!state.result) return;
  draw();
  entities();
  items();
  gold();
}

function setImage(file) {
  if (state.image) URL.revokeObjectURL(state.image.url);
  state.image = file ? { url: URL.createObjectURL(file), name: file.name } : null;
  redraw();
}

// A receipt's JSON, its image, or both.
async function open(files) {
  const list = [...files];
  if (list.some((file) => file.size > 64e6)) return fail("A file is larger than 64 MB.");
  const image = list.find((file) => file.type.startsWith("image/"));
  const json = list.find((file) => !file.type.startsWith("image/"));
  if (image || json) setImage(image || null);
  if (!json) return;
  offer(await json.text());
  await send();
}

function listen() {
  at("send").addEventListener("click", send);
  at("sample").replaceChildren(make("option", { value: "" }, "Samples …"),
    ...SAMPLES.map((sample, i) => make("option", { value: i }, sample.image_id)));
  at("sample").addEventListener("change", () => {
    if (at("sample").value === "") return;
    setImage(null);
    offer(JSON.stringify(SAMPLES[Number(at("sample").value)]));
    send();
  });
  at("file").addEventListener("change", async (event) => { await open(event.target.files); event.target.value = ""; });
  at("which").addEventListener("change", () => { setImage(null); send(); });
  at("json").addEventListener("input", () => { at("sample").value = ""; offer(at("json").value); });
  at("least").addEventListener("input", redraw);
  for (const id of ["show-image", "whole-page"]) at(id).addEventListener("change", redraw);
  for (const what of ["json", "csv", "curl"]) at("copy-" + what).addEventListener("click", () => copy(what));
  document.addEventListener("keydown", (event) => { if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) send(); });
  document.addEventListener("dragover", (event) => { event.preventDefault(); document.body.classList.add("dropping"); });
  document.addEventListener("dragleave", (event) => { if (!event.relatedTarget) document.body.classList.remove("dropping"); });
  document.addEventListener("drop", (event) => { event.preventDefault(); document.body.classList.remove("dropping"); open(event.dataTransfer.files); });
  addEventListener("scroll", hush, { passive: true });
}

listen();
redraw();
askModel();
