// Dialogs. The browser keeps the focus inside, closes them with Escape and gives the focus back.

import { ApiError } from "./api.js";
import { button, el, newId } from "./dom.js";
import { t } from "./i18n.js";
import { table } from "./table.js";

/** Shows a dialog. Returns a function that closes it. */
export function openDialog(title, ...content) {
  const id = newId("dialog");
  const close = () => dialog.close();
  const dialog = el(
    "dialog",
    { "aria-labelledby": id, onclose: () => dialog.remove() },
    el("header", {}, el("h2", { id }, title), button("×", close, { class: "close", "aria-label": t("close") })),
    content,
  );
  document.body.append(dialog);
  dialog.showModal();
  return close;
}

/** Closes what is open, when the page shows something else. */
export function closeDialogs() {
  for (const dialog of document.querySelectorAll("dialog[open]")) dialog.close();
}

/**
 * Asks before something is done. `act` does it, and returns what is called once the dialog is closed; a refusal stays in
 * the dialog. The focus begins on the button that does nothing.
 */
export function confirm({ title, text, action, danger = false, act }) {
  const alert = el("div", { role: "alert" });
  const no = button(t("back"), () => close());
  const yes = button(action, run, { class: danger ? "danger" : "primary" });
  const paragraphs = [text].flat().map((line) => el("p", {}, line));
  const close = openDialog(title, el("div", { class: "body" }, paragraphs, alert), el("footer", {}, no, yes));
  no.focus();

  async function run() {
    yes.disabled = true;
    alert.replaceChildren();
    try {
      const after = await act();
      close();
      await after?.();
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      alert.replaceChildren(problem(error));
    } finally {
      yes.disabled = false;
    }
  }
}

/** A refusal, with the rows that are wrong, and the id by which the log has it. */
export function problem(error) {
  const id = error.requestId;
  return el(
    "div",
    { class: "problem" },
    el("p", {}, error.message),
    error.rows.length > 0 && wrongRows(error.rows),
    id && el("p", { class: "quiet" }, `${t("request_id")}: `, el("code", {}, id)),
  );
}

/** Rows of a file by line and column, or of a list by their place. */
function wrongRows(rows) {
  const place = (name, value) => ({ head: t(name), numeric: true, cell: (row) => String(value(row) ?? "") });
  const columns = [
    place("line", ({ line, index }) => line ?? (index === undefined ? undefined : index + 1)),
    place("column", ({ column }) => column),
    { head: t("field"), cell: ({ field }) => field ?? "" },
    { head: t("wrong"), wide: true, cell: ({ error }) => error },
  ];
  return table({ caption: t("wrong"), columns, rows });
}
