// Tables, and the pages of a list.

import { button, el } from "./dom.js";
import { number } from "./format.js";
import { t } from "./i18n.js";

/**
 * Makes a table. A column is `{ head, cell, numeric, wide, sort }`: `cell` makes what a row shows; `sort` is
 * `{ active, go }` where the list can be sorted by it.
 */
export function table({ caption, columns, rows, empty }) {
  const kind = ({ numeric, wide }) => [numeric && "numeric", wide && "wide"].filter(Boolean).join(" ") || undefined;
  const heads = columns.map((column) =>
    el(
      "th",
      { scope: "col", class: kind(column), "aria-sort": column.sort && (column.sort.active ? "descending" : "none") },
      column.sort ? button(column.head, column.sort.go, { class: "sort" }) : column.head,
    ),
  );
  const lines = rows.map((row) =>
    el(
      "tr",
      {},
      columns.map((column) => el("td", { class: kind(column) }, column.cell(row))),
    ),
  );
  const none = el("tr", {}, el("td", { colspan: columns.length, class: "none" }, empty ?? t("nothing_found")));
  return el(
    "div",
    { class: "table", role: "region", "aria-label": caption, tabindex: "0" },
    el(
      "table",
      {},
      el("caption", { class: "unseen" }, caption),
      el("thead", {}, el("tr", {}, heads)),
      el("tbody", {}, lines.length > 0 ? lines : none),
    ),
  );
}

/** Makes the links to the pages beside this one. `go` gets the number of a page. */
export function pager(list, query, go) {
  const page = Number(query.page ?? 1) || 1;
  const link = (text, url, key) => button(text, () => go(pageOf(url)), { disabled: url === null, "data-page": key });
  return el(
    "nav",
    { class: "pager", "aria-label": t("pages") },
    el("span", {}, t("count", { n: number(list.count) })),
    link(t("previous"), list.previous, "previous"),
    el("span", { "aria-current": "page" }, t("page", { n: number(page) })),
    link(t("next"), list.next, "next"),
  );
}

/** The page that a link of the API leads to. Its host may be one that only other clients reach. */
function pageOf(url) {
  return new URL(url, location.href).searchParams.get("page") ?? "1";
}

/** Hands a file to the browser. */
export function save(blob, name) {
  const url = URL.createObjectURL(blob);
  el("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}
