// The lists of exams and courses, and the form that creates or edits one.

import { fromLocal, isZero, money, number, time, toLocal, zone } from "../common/format.js";
import { Intent } from "../common/api.js";
import { announce, button, el } from "../common/dom.js";
import { filters, form } from "../common/form.js";
import { t } from "../common/i18n.js";
import { pager, save, table } from "../common/table.js";
import { importFile } from "./create.js";

/** A page of exams or courses. `kind` is the word of their address: `tests` or `courses`. */
export async function list(page, kind) {
  const { query } = page;
  const found = await page.get(`/api/operator/${kind}/`, query);
  const sorted = (sort) => ({
    active: (query.sort ?? "created") === sort,
    go: () => page.search({ ...query, page: "", sort: sort === "created" ? "" : sort }),
  });
  const columns = [
    { head: t("id"), numeric: true, cell: ({ id }) => String(id) },
    { head: t("title"), wide: true, cell: (row) => [el("a", { href: `#/${kind}/${row.id}` }, row.title), badges(row)] },
    { head: t("price"), numeric: true, cell: ({ price }) => (isZero(price) ? t("free") : money(price)) },
    { head: t("seats"), numeric: true, sort: sorted("popular"), cell: seats },
    {
      head: t("period"),
      cell: ({ start_at, end_at }) => [el("span", { class: "together" }, time(start_at), " ~"), " ", time(end_at)],
    },
    { head: t("created_at"), sort: sorted("created"), cell: ({ created_at }) => time(created_at) },
  ];
  return {
    title: t(kind),
    aside: [
      ...["csv", "jsonl"].map((format) =>
        button(t(format), () => download(page, `/api/operator/${kind}.${format}`, {}, `${kind}.${format}`)),
      ),
      button(t("import"), () => importFile(page, kind)),
      el("a", { class: "button primary", href: `#/${kind}/new` }, t(`new_${kind}`)),
    ],
    content: [
      filters(
        [
          { name: "search", label: t("search_title"), type: "search" },
          {
            name: "status",
            label: t("status"),
            type: "select",
            options: [
              ["", t("all")],
              ["available", t("available")],
            ],
          },
          {
            name: "hidden",
            label: t("visibility"),
            type: "select",
            options: [
              ["", t("shown")],
              ["true", t("hidden")],
            ],
          },
        ],
        query,
        (chosen) => page.search({ sort: query.sort, ...chosen }),
      ),
      table({ caption: t(kind), columns, rows: found.results }),
      pager(found, query, (number) => page.search({ ...query, page: number })),
      el("p", { class: "quiet" }, t("zone", { zone: zone() })),
    ],
  };
}

/** What is special about an item. */
export function badges(item) {
  return [
    item.hidden && el("span", { class: "badge" }, t("hidden")),
    item.over_capacity > 0 && el("span", { class: "badge warn" }, t("over", { n: number(item.over_capacity) })),
    item.over_capacity === 0 && item.remaining === 0 && el("span", { class: "badge" }, t("sold_out")),
  ];
}

/** How many seats are taken, of how many. */
export function seats({ registration_count, capacity }) {
  return `${number(registration_count)} / ${capacity === null ? "∞" : number(capacity)}`;
}

/** Downloads a file of the API. */
export async function download(page, path, query, name) {
  save(await page.api.file(path, query), name);
  announce(t("saved_file", { name }));
}

/** The page that creates an item. */
export function create(page, kind) {
  const intent = new Intent();
  const made = itemForm({
    item: null,
    action: t("create"),
    cancel: () => page.go(`/${kind}`),
    async submit(body) {
      const item = await page.api.change("POST", `/api/operator/${kind}/`, { body, intent });
      page.go(`/${kind}/${item.id}`);
      announce(t("created", { title: item.title }));
    },
  });
  return { title: t(`new_${kind}`), content: el("div", { class: "card narrow" }, made) };
}

/** The form of an item. `submit` gets the fields that differ from it; all that are filled in for a new one. */
export function itemForm({ item, action, submit, cancel }) {
  const shown = {
    title: item?.title ?? "",
    description: item?.description ?? "",
    price: item?.price.replace(/\.00$/, "") ?? "",
    capacity: item?.capacity === null || item === null ? "" : String(item.capacity),
    start_at: item ? toLocal(item.start_at) : "",
    end_at: item ? toLocal(item.end_at) : "",
    hidden: item?.hidden ?? false,
  };
  const send = {
    description: (text) => (text === "" ? null : text),
    capacity: (text) => (text === "" ? null : text),
    start_at: fromLocal,
    end_at: fromLocal,
  };
  // A field of a time shows seconds, and the stored time may be finer: what is not edited is not sent.
  const changed = (values) =>
    Object.fromEntries(
      Object.entries(values)
        .filter(([name, value]) => (item === null ? value !== "" : value !== shown[name]))
        .map(([name, value]) => [name, send[name] ? send[name](value) : value]),
    );
  const at = { step: "1" };
  return form({
    fields: [
      { name: "title", label: t("title"), required: true },
      { name: "description", label: t("description"), type: "textarea", attributes: { rows: 3 } },
      { name: "price", label: t("price"), type: "amount", required: true, half: true, hint: t("price_hint") },
      {
        name: "capacity",
        label: t("capacity"),
        half: true,
        hint: t("capacity_hint"),
        attributes: { inputmode: "numeric" },
      },
      { name: "start_at", label: t("start_at"), type: "datetime-local", required: true, half: true, attributes: at },
      {
        name: "end_at",
        label: t("end_at"),
        type: "datetime-local",
        required: true,
        half: true,
        hint: t("zone", { zone: zone() }),
        attributes: at,
      },
      { name: "hidden", label: t("hidden"), type: "checkbox", hint: t("hidden_hint") },
    ].map((field) => ({ ...field, value: shown[field.name] })),
    action,
    cancel,
    submit: (values) => submit(changed(values)),
  });
}
