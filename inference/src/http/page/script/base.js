"use strict";
// What every part of the page uses: elements, numbers, the error line.
const at = (id) => document.getElementById(id);
const SVG = "http://www.w3.org/2000/svg";
const SVG_TAGS = new Set(["svg", "g", "rect", "text", "image", "path"]);

function make(tag, attributes = {}, ...children) {
  const element = SVG_TAGS.has(tag) ? document.createElementNS(SVG, tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

const percent = (p) => (100 * p).toFixed(p > 0.9995 || p < 0.1 ? 1 : 0) + " %";

function fail(message) {
  at("error").textContent = message;
  at("error").hidden = !message;
}

// What is on the page: the model, the receipts of the text area, the receipt shown with its answer and image.
const state = {
  labels: [],         // tags in class-id order
  hues: new Map(),    // entity type → hue
  scheme: null,       // merges and allowed labels of the model
  receipts: [],
  receipt: null,
  result: null,
  image: null,        // { url, name }
  lit: null,          // entity type chosen in the legend
};

function paint(element, type) {
  if (!type) return;
  element.classList.add("typed");
  element.style.setProperty("--hue", state.hues.get(type) ?? 0);
}

const leastConfidence = () => Number(at("least").value) / 100;
