// Elements. Texts become text nodes and attributes, never markup, whatever they contain.

/** Makes an element. `onclick` and the like listen; null, undefined and false leave an attribute or a child out. */
export function el(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

const SVG = "http://www.w3.org/2000/svg";

/** Makes an element of SVG, as `el` does. */
export function svg(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (isAbsent(value)) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat(Infinity).filter((child) => !isAbsent(child)));
  return element;
}

function isAbsent(value) {
  return value === null || value === undefined || value === false;
}

let last = 0;

/** Makes an id that no other element has. */
export function newId(prefix) {
  last += 1;
  return `${prefix}-${last}`;
}

/** Makes a button. */
export function button(text, onclick, attributes = {}) {
  return el("button", { type: "button", onclick, ...attributes }, text);
}

/** Where texts are announced. A page keeps it, so that screen readers watch it. */
export const live = el("div", { class: "toasts", "aria-live": "polite", role: "status" });

/** Shows a text for a few seconds, and has screen readers say it. */
export function announce(text) {
  const toast = el("p", { class: "toast" }, text);
  live.append(toast);
  setTimeout(() => toast.remove(), 6000);
}
