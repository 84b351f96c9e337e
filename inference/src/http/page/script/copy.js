// The answer for elsewhere: as JSON, as CSV, and as the command that asks for it.
const quoted = (value) => (/[",\n\r]/.test(value) ? `"${value.replaceAll('"', '""')}"` : value);

function asCsv(result) {
  const rows = [["kind", "type", "text", "value", "currency", "confidence"]];
  const row = (kind, type, part) => rows.push([kind, type, part.text, part.value ?? "", part.currency ?? "", part.confidence.toFixed(4)]);
  for (const entity of result.entities) row("entity", entity.type, entity);
  (result.line_items || []).forEach((item, i) => {
    for (const name of PARTS) if (item[name]) row(`line_item_${i + 1}`, name, item[name]);
  });
  return rows.map((cells) => cells.map(quoted).join(",")).join("\n") + "\n";
}

function asCurl(receipt) {
  const body = JSON.stringify(receipt).replaceAll("'", "'\\''");
  const url = new URL("v1/classify?" + query(), location.href);
  return `curl -s '${url}' -H 'content-type: application/json' -d '${body}'`;
}

async function copy(what) {
  const { receipt, result } = state;
  const text = { json: () => JSON.stringify(result, null, 2), csv: () => asCsv(result), curl: () => asCurl(receipt) }[what]();
  let done = true;
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // Without https browsers keep the clipboard to themselves, but let a selection be copied.
    const area = make("textarea", { class: "away", "aria-hidden": "true" });
    area.value = text;
    document.body.append(area);
    area.select();
    done = document.execCommand("copy");
    area.remove();
  }
  at("copied").textContent = done ? `${what === "curl" ? "curl command" : what.toUpperCase()} copied.` : "The browser does not let this page copy.";
  at("copied").dataset.text = text;
}
