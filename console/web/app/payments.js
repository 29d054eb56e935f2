// Payments, and what goes back of them.

import { Intent } from "../common/api.js";
import { confirm, openDialog } from "../common/dialog.js";
import { button, el } from "../common/dom.js";
import { isZero, money, time, zone } from "../common/format.js";
import { filters, form } from "../common/form.js";
import { t, word } from "../common/i18n.js";
import { pager, table } from "../common/table.js";
import { facts } from "./item.js";
import { download } from "./items.js";

const STATUSES = ["paid", "cancelled", "refunded"];

/** A page of payments. */
export async function list(page) {
  const { query } = page;
  const found = await page.get("/api/operator/payments/", query);
  return {
    title: t("payments"),
    aside: button(t("csv"), () => download(page, "/api/operator/payments.csv", { ...query, page: "" }, "payments.csv")),
    content: [
      filters(
        [
          { name: "email", label: t("email"), type: "search" },
          { name: "external_id", label: t("external_id"), type: "search" },
          { name: "amount", label: t("amount"), type: "amount" },
          { name: "user", label: t("user_id"), type: "search", attributes: { inputmode: "numeric" } },
          {
            name: "status",
            label: t("status"),
            type: "select",
            options: [["", t("all")], ...STATUSES.map((status) => [status, word("payment_status", status)])],
          },
          { name: "from", label: t("from"), type: "date" },
          { name: "to", label: t("to"), type: "date" },
        ],
        query,
        (values) => page.search(values),
      ),
      paymentTable(found.results),
      pager(found, query, (number) => page.search({ ...query, page: number })),
      el("p", { class: "quiet" }, t("zone", { zone: zone() })),
    ],
  };
}

/** A table of payments: of all users, or of one, who need not be named. */
export function paymentTable(rows, isOfOne = false) {
  const columns = [
    { head: t("id"), numeric: true, cell: ({ id }) => el("a", { href: `#/payments/${id}` }, String(id)) },
    { head: t("target"), wide: true, cell: targetOf },
    !isOfOne && { head: t("user_id"), numeric: true, cell: userOf },
    { head: t("amount"), numeric: true, cell: ({ amount }) => money(amount) },
    { head: t("left"), numeric: true, cell: ({ left }) => money(left) },
    { head: t("method"), cell: ({ payment_method }) => word("payment_method", payment_method) },
    { head: t("status"), cell: statusOf },
    { head: t("paid_at"), cell: ({ paid_at }) => time(paid_at) },
  ];
  return table({ caption: t("payments"), columns: columns.filter(Boolean), rows });
}

function userOf({ user_id }) {
  return el("a", { href: `#/users/${user_id}` }, String(user_id));
}

function targetOf({ target_type, target_id, target_title }) {
  return el("a", { href: `#/${target_type}s/${target_id}` }, target_title ?? String(target_id));
}

function statusOf({ status }) {
  return el("span", { class: `status ${status}` }, word("payment_status", status));
}

/** The page of one payment. */
export async function show(page, id) {
  const path = `/api/operator/payments/${id}/`;
  const payment = await page.get(path);
  const user = await page.get(`/api/operator/users/${payment.user_id}/`);
  const columns = [
    { head: t("id"), numeric: true, cell: (refund) => String(refund.id) },
    { head: t("amount"), numeric: true, cell: ({ amount }) => money(amount) },
    { head: t("status"), cell: ({ status }) => word("refund_status", status) },
    { head: t("reason"), cell: ({ reason }) => reason ?? "" },
    { head: t("requested_at"), cell: ({ requested_at }) => time(requested_at) },
    {
      head: t("requested_by"),
      cell: ({ requested_by }) => requested_by && el("a", { href: `#/users/${requested_by}` }, String(requested_by)),
    },
    { head: t("registration"), cell: ({ keeps_registration }) => (keeps_registration ? t("kept") : "") },
  ];
  return {
    title: `${t("payment")} ${payment.id}`,
    aside: !isZero(payment.left) && button(t("refund"), () => refund(page, path, payment, user), { class: "primary" }),
    content: [
      facts([
        [t("user"), el("a", { href: `#/users/${user.id}` }, user.email)],
        [t("target"), targetOf(payment)],
        [t("status"), statusOf(payment)],
        [t("amount"), money(payment.amount)],
        [t("left"), money(payment.left)],
        [t("method"), word("payment_method", payment.payment_method)],
        [t("paid_at"), time(payment.paid_at)],
        [t("cancelled_at"), payment.cancelled_at ? time(payment.cancelled_at) : t("no")],
      ]),
      el("h2", {}, t("refunds")),
      table({ caption: t("refunds"), columns, rows: payment.refunds, empty: t("none") }),
    ],
  };
}

/** Asks how much goes back and why, then names the amount, then gives it back. */
function refund(page, path, payment, user) {
  const made = form({
    fields: [
      {
        name: "amount",
        label: t("amount"),
        type: "amount",
        required: true,
        value: payment.left.replace(/\.00$/, ""),
        hint: t("refund_hint", { left: money(payment.left) }),
      },
      { name: "reason", label: t("reason"), required: true },
      { name: "keep_registration", label: t("keep_registration"), type: "checkbox", hint: t("keep_registration_hint") },
    ],
    action: t("refund_go"),
    cancel: () => close(),
    submit(body) {
      const rest = subtract(payment.left, body.amount);
      const amount = rest === null ? body.amount : money(normal(body.amount));
      const isEnd = rest !== null && isZero(rest) && !body.keep_registration && payment.status === "paid";
      const intent = new Intent();
      confirm({
        title: t("refund_title", { amount }),
        text: [
          t("refund_text", { amount, email: user.email }),
          rest !== null && t("refund_rest", { rest: money(rest) }),
          isEnd && t("refund_ends"),
        ].filter(Boolean),
        action: t("refund_do", { amount }),
        danger: true,
        async act() {
          const done = await page.api.change("POST", `${path}refund/`, { body, intent });
          return () => {
            close();
            // A gateway whose answer is not known yet has a message.
            return page.again(done.message ?? t("refunded", { amount: money(done.amount) }));
          };
        },
      });
    },
  });
  const close = openDialog(t("refund"), made);
}

/** An amount that a person typed, as the API writes it. */
function normal(amount) {
  const [whole, decimals = ""] = amount.split(".");
  return `${BigInt(whole)}.${decimals.padEnd(2, "0")}`;
}

/** What is left of an amount, to the cent; null if the API will refuse the other one. */
function subtract(left, amount) {
  if (!/^\d+(\.\d{1,2})?$/.test(amount)) return null;
  const cents = (text) => BigInt(normal(text).replace(".", ""));
  const rest = cents(left) - cents(amount);
  if (rest < 0n) return null;
  const digits = String(rest).padStart(3, "0");
  return `${digits.slice(0, -2)}.${digits.slice(-2)}`;
}
