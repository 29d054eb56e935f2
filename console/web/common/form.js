// Forms: each field has a label, and its errors beside it.

import { ApiError } from "./api.js";
import { problem } from "./dialog.js";
import { button, el, newId } from "./dom.js";
import { t } from "./i18n.js";

/**
 * Makes a form.
 *
 * A field is `{ name, label, type, value, hint, required, half, options, attributes, shownFor }`. `type` is that of an
 * input, or one of `amount`, `select`, `textarea` and `checkbox`; `options` are pairs of value and text; two fields that
 * are `half` stand side by side; `shownFor(values)` hides a field. `submit` gets the values (a checkbox is true or false,
 * a file is undefined without one) and throws an `ApiError` to show it.
 */
export function form({ fields, action, submit, cancel, danger = false }) {
  const alert = el("div", { role: "alert" });
  const made = fields.map(makeField);
  const send = el("button", { type: "submit", class: danger ? "danger" : "primary" }, action);
  const rows = el(
    "div",
    { class: "fields" },
    made.map((field) => field.row),
  );
  const buttons = el("footer", {}, cancel && button(t("back"), cancel), send);
  const element = el("form", { novalidate: true, onsubmit, oninput: arrange }, alert, rows, buttons);
  arrange();
  return element;

  function values() {
    return Object.fromEntries(made.filter((field) => !field.row.hidden).map((field) => [field.name, field.read()]));
  }

  function arrange() {
    const all = Object.fromEntries(made.map((field) => [field.name, field.read()]));
    for (const field of made) field.row.hidden = field.shownFor !== undefined && !field.shownFor(all);
  }

  async function onsubmit(event) {
    event.preventDefault();
    alert.replaceChildren();
    for (const field of made) field.show([]);
    send.disabled = true;
    try {
      await submit(values());
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      refuse(error);
    } finally {
      send.disabled = false;
    }
  }

  function refuse(error) {
    const wrong = made.filter((field) => error.fields[field.name] && !field.row.hidden);
    for (const field of wrong) field.show(error.fields[field.name]);
    const unseen = Object.keys(error.fields).some((name) => !wrong.some((field) => field.name === name));
    if (wrong.length === 0 || unseen) alert.replaceChildren(problem(error));
    wrong[0]?.input.focus();
  }
}

function makeField({
  name,
  label,
  type = "text",
  value,
  hint,
  required,
  half,
  options = [],
  attributes = {},
  shownFor,
}) {
  const id = newId(name);
  const errors = el("ul", { class: "errors", id: `${id}-errors` });
  const note = hint && el("p", { class: "hint", id: `${id}-hint` }, hint);
  const common = {
    id,
    name,
    required,
    "aria-describedby": [note && note.id, errors.id].filter(Boolean).join(" "),
    ...attributes,
  };
  const input = makeInput(type, common, value, options);
  const text = el(
    "label",
    { for: id },
    label,
    required && el("span", { class: "required", "aria-hidden": "true" }, " *"),
  );
  const parts = type === "checkbox" ? [el("div", { class: "check" }, input, text)] : [text, input];
  return {
    name,
    shownFor,
    input,
    row: el("div", { class: half ? "field half" : "field" }, parts, note, errors),
    read: () => read(type, input),
    show(messages) {
      errors.replaceChildren(...messages.map((message) => el("li", {}, message)));
      if (messages.length > 0) input.setAttribute("aria-invalid", "true");
      else input.removeAttribute("aria-invalid");
    },
  };
}

function read(type, input) {
  if (type === "checkbox") return input.checked;
  if (type === "file") return input.files[0];
  return type === "amount" ? plain(input.value) : input.value;
}

/** An amount without the separators that people write. */
function plain(amount) {
  return amount.replace(/[\s,]/g, "");
}

function makeInput(type, attributes, value, options) {
  if (type === "select") {
    const made = options.map(([word, text]) => el("option", { value: word, selected: word === value }, text));
    return el("select", attributes, made);
  }
  if (type === "textarea") return el("textarea", { rows: 4, ...attributes }, value ?? "");
  if (type === "amount") return el("input", { inputmode: "decimal", ...attributes, value: value ?? "" });
  if (type === "checkbox") return el("input", { type, ...attributes, checked: value === true });
  return el("input", { type, ...attributes, value: value ?? "" });
}

/** Makes the form above a table, which narrows it down. `go` gets the values. */
export function filters(fields, query, go) {
  const made = fields.map((field) => makeField({ ...field, value: query[field.name] ?? field.value }));
  const onsubmit = (event) => {
    event.preventDefault();
    go(Object.fromEntries(made.map((field) => [field.name, field.read()])));
  };
  const onchange = (event) => {
    if (event.target.tagName === "SELECT") event.currentTarget.requestSubmit();
  };
  return el(
    "form",
    { class: "filters", role: "search", onsubmit, onchange },
    made.map((field) => field.row),
    el("button", { type: "submit" }, t("search")),
    button(t("reset"), () => go({}), { class: "plain" }),
  );
}
