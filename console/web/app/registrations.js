// Who is registered for an item, and what an operator does with a registration.

import { Intent } from "../common/api.js";
import { confirm, openDialog } from "../common/dialog.js";
import { button, el } from "../common/dom.js";
import { money, number, time } from "../common/format.js";
import { filters, form } from "../common/form.js";
import { t, word } from "../common/i18n.js";
import { pager, table } from "../common/table.js";
import { download } from "./items.js";

/** The section with the registrations for an item. */
export async function registrations(page, kind, id) {
  const path = `/api/operator/${kind}/${id}/registrations`;
  const { query } = page;
  const found = await page.get(`${path}/`, query);
  const active = kind === "tests" ? "applied" : "enrolled";
  const isActive = ({ status }) => status === active;
  const chosen = new Set();
  const completeChosen = button("", () => completeMany(page, path, [...chosen]), { hidden: true });
  const choose = (row) => (event) => {
    if (event.target.checked) chosen.add(row.id);
    else chosen.delete(row.id);
    completeChosen.hidden = chosen.size === 0;
    completeChosen.textContent = t("complete_selected", { n: chosen.size });
  };
  const columns = [
    {
      head: t("selected"),
      cell: (row) =>
        isActive(row) &&
        el("input", { type: "checkbox", "aria-label": t("select", { email: row.email }), onchange: choose(row) }),
    },
    {
      head: t("user"),
      wide: true,
      cell: (row) => [
        el("a", { href: `#/users/${row.user_id}` }, row.email),
        el("span", { class: "quiet block" }, row.username),
      ],
    },
    ...stateColumns(),
    {
      head: t("actions"),
      cell: (row) =>
        el(
          "div",
          { class: "row-actions" },
          isActive(row) &&
            button(t("complete"), () => complete(page, path, row), { "aria-label": `${t("complete")}: ${row.email}` }),
          row.status !== "cancelled" &&
            button(t("cancel"), () => cancel(page, path, row), { "aria-label": `${t("cancel")}: ${row.email}` }),
        ),
    },
  ];
  const states = [active, "completed", "cancelled"].map((status) => [status, word("registration_status", status)]);
  return el(
    "section",
    { "aria-labelledby": "registrations" },
    el(
      "div",
      { class: "heading" },
      el("h2", { id: "registrations" }, t("registrations")),
      completeChosen,
      button(t("complete_file"), () => completeListed(page, path)),
      button(t("csv"), () => download(page, `${path}.csv`, { ...query, page: "" }, "registrations.csv")),
      button(t("register"), () => register(page, path), { class: "primary" }),
    ),
    filters(
      [
        { name: "status", label: t("status"), type: "select", options: [["", t("all")], ...states] },
        { name: "from", label: t("from"), type: "date" },
        { name: "to", label: t("to"), type: "date" },
      ],
      query,
      (values) => page.search(values),
    ),
    table({ caption: t("registrations"), columns, rows: found.results }),
    pager(found, query, (number) => page.search({ ...query, page: number })),
  );
}

/** The columns of a registration that say what became of it. */
export function stateColumns() {
  return [
    {
      head: t("status"),
      cell: ({ status }) => el("span", { class: `status ${status}` }, word("registration_status", status)),
    },
    { head: t("registered_at"), cell: (row) => time(row.registered_at) },
    { head: t("payment"), cell: paymentOf },
  ];
}

function paymentOf({ payment_id, amount, payment_method, payment_status, reference }) {
  if (payment_id === null) return t("none");
  const how = [word("payment_method", payment_method), word("payment_status", payment_status), reference];
  return [
    el("a", { href: `#/payments/${payment_id}` }, money(amount)),
    el("span", { class: "quiet block" }, how.filter(Boolean).join(" · ")),
  ];
}

function register(page, path) {
  const intent = new Intent();
  const is = (method) => (values) => values.payment_method === method;
  const made = form({
    fields: [
      { name: "email", label: t("email"), type: "email", required: true },
      {
        name: "payment_method",
        label: t("method"),
        type: "select",
        value: "outside",
        options: [
          ["outside", t("method_outside")],
          ["free", t("method_free")],
        ],
      },
      { name: "amount", label: t("amount"), type: "amount", required: true, shownFor: is("outside") },
      {
        name: "reference",
        label: t("outside_reference"),
        required: true,
        hint: t("outside_reference_hint"),
        shownFor: is("outside"),
      },
      { name: "reason", label: t("reason"), required: true, shownFor: is("free") },
      { name: "outside_period", label: t("outside_period"), type: "checkbox" },
    ],
    action: t("register"),
    cancel: () => close(),
    async submit(body) {
      await page.api.change("POST", `${path}/`, { body, intent });
      close();
      await page.again(t("registered_user", { email: body.email }));
    },
  });
  const close = openDialog(t("register"), made);
}

function complete(page, path, row) {
  const intent = new Intent();
  confirm({
    title: t("complete"),
    text: t("complete_text", { email: row.email }),
    action: t("complete"),
    async act() {
      await page.api.change("POST", `${path}/${row.id}/complete/`, { intent });
      return () => page.again(t("completed_done"));
    },
  });
}

function completeMany(page, path, ids) {
  const intent = new Intent();
  confirm({
    title: t("complete"),
    text: t("complete_many_text", { n: ids.length }),
    action: t("complete_selected", { n: ids.length }),
    async act() {
      await page.api.change("POST", `${path}/complete/`, { body: { ids }, intent });
      return () => page.again(t("completed_done"));
    },
  });
}

/** Asks for a file with the ids of registrations, then completes these. */
function completeListed(page, path) {
  const made = form({
    fields: [
      {
        name: "file",
        label: t("file"),
        type: "file",
        required: true,
        hint: t("complete_file_hint"),
        attributes: { accept: ".csv" },
      },
    ],
    action: t("continue"),
    cancel: () => close(),
    submit({ file = new File([], "") }) {
      const intent = new Intent();
      confirm({
        title: t("complete_file"),
        text: t("complete_file_text", { name: file.name }),
        action: t("complete"),
        async act() {
          const { completed } = await page.api.upload(`${path}/complete/`, file, intent);
          return () => {
            close();
            return page.again(t("completed_many", { n: number(completed) }));
          };
        },
      });
    },
  });
  const close = openDialog(t("complete_file"), made);
}

/** Asks for the reason and what goes back, then names the amount, then cancels. */
async function cancel(page, path, row) {
  const payment = row.payment_id === null ? null : await page.get(`/api/operator/payments/${row.payment_id}/`);
  const left = payment?.left ?? "0.00";
  const made = form({
    fields: [
      {
        name: "refund",
        label: t("cancel_refund"),
        type: "select",
        value: "all",
        options: [
          ["all", `${t("refund_all")} (${money(left)})`],
          ["none", t("refund_none")],
        ],
      },
      { name: "reason", label: t("reason"), required: true },
    ],
    action: t("cancel_go"),
    cancel: () => close(),
    submit(body) {
      const isRefund = body.refund === "all";
      const intent = new Intent();
      const values = { email: row.email, amount: money(left) };
      confirm({
        title: t("cancel"),
        text: t(isRefund ? "cancel_text_all" : "cancel_text_none", values),
        action: t(isRefund ? "cancel_with" : "cancel_without", values),
        danger: true,
        async act() {
          const done = await page.api.change("POST", `${path}/${row.id}/cancel/`, { body, intent });
          return () => {
            close();
            return page.again(done.message ?? t("cancelled_done", { amount: money(done.refunded) }));
          };
        },
      });
    },
  });
  const close = openDialog(`${t("cancel")}: ${row.email}`, made);
}
