// Text → receipts: an object, a list, {"receipts": […]} or one object per line.
function read(text) {
  if (!text.trim()) throw new Error("Paste a receipt, drop a file, or try a sample.");
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

// The page's size and a function from a raw box to [x, y, width, height] with y downwards.
function geometry(receipt) {
  const unit = receipt.unit || at("unit").value || "pixels";
  const origin = receipt.origin || at("origin").value || "top_left";
  const boxes = receipt.words.map((w) => w.box || w.bbox);
  const reach = (a, b) => boxes.reduce((most, box) => Math.max(most, box[a], box[b]), 1e-9);
  const side = { relative: 1, thousandths: 1000 }[unit];
  const width = side || receipt.width || reach(0, 2);
  const height = side || receipt.height || reach(1, 3);
  const ratio = side && receipt.width && receipt.height ? receipt.height / receipt.width : side ? 1.4 : height / width;
  const [W, H] = [1000, Math.min(6000, Math.max(150, 1000 * ratio))];
  const place = ([x0, y0, x1, y1]) => {
    if (origin === "bottom_left") [y0, y1] = [height - y1, height - y0];
    const [left, right] = [Math.min(x0, x1), Math.max(x0, x1)];
    const [top, bottom] = [Math.min(y0, y1), Math.max(y0, y1)];
    const size = (from, to, whole, page) => Math.max(2, ((to - from) / whole) * page);
    return [(left / width) * W, (top / height) * H, size(left, right, width, W), size(top, bottom, height, H)];
  };
  return { W, H, place };
}

// The entity type a gold label stands for in this model: merged, and null where the model does not know it.
function goldType(label) {
  if (!label || label === "O") return null;
  const merges = Object.entries((state.scheme && state.scheme.merges) || {});
  const found = merges.find(([, sources]) => sources.includes(label));
  const type = found ? found[0] : label.toUpperCase();
  return state.hues.has(type) ? type : null;
}

const hasGold = (receipt) => receipt.words.some((word) => typeof word.label === "string");
