// What was found, as tables: types, entities, line items with their sum, and where gold labels differ.
function swatch(type) {
  const element = make("span", { class: "swatch" });
  paint(element, type);
  return element;
}

function legend() {
  const counts = new Map();
  for (const word of state.result.words) if (word.entity) counts.set(word.entity, (counts.get(word.entity) || 0) + 1);
  const entries = [...counts].sort().map(([type, count]) => {
    const button = make("button", { type: "button", "aria-pressed": "false" }, swatch(type), `${type} · ${count}`);
    button.addEventListener("click", () => {
      state.lit = state.lit === type ? null : type;
      for (const other of at("legend").querySelectorAll("button")) {
        other.setAttribute("aria-pressed", String(other === button && state.lit === type));
      }
      dim();
    });
    return make("li", {}, button);
  });
  at("legend").replaceChildren(...entries);
}

function sure(confidence) {
  const cell = make("td", {}, percent(confidence));
  if (confidence < leastConfidence()) {
    cell.classList.add("low");
    cell.prepend(make("span", { title: "low confidence" }, "⚠ "));
  }
  return cell;
}

// Types may break at their underscores on narrow screens.
const breakable = (type) => type.replaceAll("_", "_\u200b");

const written = (entity) => [entity.value, entity.currency].filter(Boolean).join(" ");

function entities() {
  const rows = state.result.entities.map((entity) => lights(make("tr", { tabindex: 0 },
    make("td", {}, swatch(entity.type), breakable(entity.type)), make("td", {}, entity.text), make("td", {}, written(entity)),
    sure(entity.confidence)), entity.word_indices));
  at("entities").replaceChildren(...rows);
  at("no-entities").hidden = rows.length > 0;
}

const PARTS = ["product", "quantity", "unit_price", "total"];

function items() {
  const found = state.result.line_items || [];
  const cell = (part, isNumber) => make("td", isNumber ? { class: "number" } : {}, part ? part.text : "");
  const rows = found.map((item) => lights(make("tr", { tabindex: 0 },
    ...PARTS.map((name) => cell(item[name], name !== "product")), sure(item.confidence)),
    PARTS.flatMap((name) => (item[name] ? item[name].word_indices : []))));
  at("items").replaceChildren(...rows);
  at("items-table").hidden = !rows.length;
  at("no-items").hidden = rows.length > 0;
  sum(state.result.arithmetic);
}

const VERDICTS = { holds: "✓ adds up", differs: "✗ does not add up", incomplete: "? can't be checked" };

function sum(check) {
  at("sum").hidden = !check;
  if (!check) return;
  const term = (sign, name, value) => (value === null ? "" : ` ${sign} ${name} ${value}`);
  const left = check.lines === null ? "" : `${check.basis === "subtotal" ? "subtotal" : "items"} ${check.lines}`
    + term("−", "discounts", check.discounts_included ? null : check.discounts)
    + term("+", "tax", check.tax_included ? null : check.tax) + term("+", "tip", check.tip) + term("+", "rounding", check.rounding);
  const included = check.tax_included ? `, tax ${check.tax} included` : "";
  const missing = check.missing.length ? ` Missing: ${check.missing.join(", ")}.` : "";
  const gap = check.outcome === "differs" ? ` (difference ${check.difference})` : "";
  const total = check.total === null ? "" : `, total ${check.total}`;
  at("sum").className = check.outcome;
  at("sum").textContent = `${VERDICTS[check.outcome]}: ${left}${included}${total}${gap}.${missing}`.replace(": .", ".").replace(": ,", ":");
}

function gold() {
  const { receipt, result } = state;
  at("gold").hidden = !hasGold(receipt);
  if (at("gold").hidden) return;
  const all = result.words.map((word, i) => ({ word, i, expected: goldType(receipt.words[i].label) }));
  const wrong = all.filter(({ word, expected }) => expected !== word.entity);
  at("agreement").textContent = `${all.length - wrong.length} of ${all.length} words have their gold label.`;
  const rows = wrong.slice(0, 200).map(({ word, i, expected }) => lights(make("tr", { tabindex: 0 },
    make("td", {}, word.text.slice(0, 80)), make("td", {}, breakable(expected || "O")), make("td", {}, breakable(word.entity || "O")), sure(word.confidence)), [i]));
  at("differences").replaceChildren(...rows);
  at("gold-table").hidden = !rows.length;
}
