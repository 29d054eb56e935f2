// Orders: seats that are held until they are paid, and what an operator does with them.

import { Intent } from "../common/api.js";
import { confirm, openDialog } from "../common/dialog.js";
import { button, el } from "../common/dom.js";
import { money, time, zone } from "../common/format.js";
import { filters, form } from "../common/form.js";
import { t, word } from "../common/i18n.js";
import { pager, table } from "../common/table.js";

const STATUSES = ["held", "approving", "awaiting_deposit", "paid", "expired", "cancelled", "refund_due"];

/** A page of orders. */
export async function list(page) {
  const { query } = page;
  const found = await page.get("/api/operator/orders/", query);
  const columns = [
    { head: t("id"), numeric: true, cell: ({ id }) => String(id) },
    { head: t("target"), wide: true, cell: targetOf },
    { head: t("amount"), numeric: true, cell: ({ amount }) => money(amount) },
    { head: t("status"), cell: stateOf },
    { head: t("attempts"), wide: true, cell: attemptsOf },
    { head: t("created_at"), cell: ({ created_at }) => time(created_at) },
    { head: t("actions"), cell: (order) => el("div", { class: "row-actions" }, actions(page, order)) },
  ];
  return {
    title: t("orders"),
    content: [
      filters(
        [
          { name: "email", label: t("email"), type: "search" },
          { name: "user", label: t("user_id"), type: "search", attributes: { inputmode: "numeric" } },
          { name: "status", label: t("status"), type: "select", options: choices("order_status", STATUSES) },
          { name: "item_type", label: t("kind"), type: "select", options: choices("item_type", ["test", "course"]) },
          { name: "item", label: t("item_id"), type: "search", attributes: { inputmode: "numeric" } },
          { name: "from", label: t("from"), type: "date" },
          { name: "to", label: t("to"), type: "date" },
        ],
        query,
        (values) => page.search(values),
      ),
      table({ caption: t("orders"), columns, rows: found.results }),
      pager(found, query, (number) => page.search({ ...query, page: number })),
      el("p", { class: "quiet" }, t("zone", { zone: zone() })),
    ],
  };
}

function choices(group, words) {
  return [["", t("all")], ...words.map((value) => [value, word(group, value)])];
}

function targetOf({ item_type, item_id, title, user_id, email }) {
  return [
    el("a", { href: `#/${item_type}s/${item_id}` }, title),
    el("a", { class: "quiet block", href: `#/users/${user_id}` }, email ?? String(user_id)),
  ];
}

function stateOf({ status, expires_at, refund, payment_id }) {
  const isLive = ["held", "awaiting_deposit"].includes(status);
  return [
    el("span", { class: `status ${status}` }, word("order_status", status)),
    isLive && el("span", { class: "quiet block together" }, "~ ", time(expires_at)),
    refund && el("span", { class: "badge warn" }, `${t("refund")}: ${word("refund_status", refund.status)}`),
    payment_id && el("a", { class: "quiet block", href: `#/payments/${payment_id}` }, `${t("payment")} ${payment_id}`),
  ];
}

/** Each attempt: the gateway, what became of it, and by what another one than an operator knows it. */
function attemptsOf({ attempts }) {
  const line = ({ gateway, status, code, reference }) =>
    el(
      "li",
      {},
      [gateway, word("attempt_status", status), code].filter(Boolean).join(" · "),
      gateway !== "manual" && el("span", { class: "quiet block" }, reference),
    );
  return el("ul", { class: "ids" }, attempts.map(line));
}

/** The refunds that no gateway gives back by itself: an operator pays them out. */
function refundsToNote({ attempts }) {
  return attempts.flatMap(({ gateway, refunds }) =>
    refunds.filter(({ status, code }) => status === "requested" && (code || gateway === "manual")),
  );
}

function actions(page, order) {
  const { email, gateway, status } = order;
  const act = (name, run, detail) => {
    const label = [t(name), detail].filter(Boolean).join(" ");
    return button(label, () => run(page, order), { "aria-label": `${label}: ${email}` });
  };
  const toNote = refundsToNote(order);
  const mayArrive = gateway === "manual" && !["paid", "refund_due"].includes(status);
  return [
    mayArrive && act("confirm_deposit", confirmDeposit),
    ["held", "awaiting_deposit"].includes(status) && act("cancel_order", cancel),
    ...toNote.map((refund) => act("note_refund", noteRefund(refund), toNote.length > 1 && money(refund.amount))),
  ];
}

/** Asks what has arrived, then names the amount, then registers the user. */
function confirmDeposit(page, order) {
  const amount = money(order.amount);
  ask(page, order, "confirm", {
    title: t("confirm_deposit"),
    fields: [
      {
        name: "amount",
        label: t("amount"),
        type: "amount",
        required: true,
        hint: t("confirm_deposit_hint", { amount }),
      },
      { name: "reference", label: t("outside_reference"), required: true, hint: t("outside_reference_hint") },
      { name: "reason", label: t("reason"), required: true },
    ],
    text: t("confirm_deposit_text", { email: order.email, title: order.title }),
    action: t("confirm_deposit_do", { amount }),
    done: ({ status }) => t(status === "paid" ? "confirm_deposit_done" : "confirm_deposit_late"),
  });
}

function cancel(page, order) {
  ask(page, order, "cancel", {
    title: t("cancel_order"),
    fields: [{ name: "reason", label: t("reason"), required: true }],
    text: t("cancel_order_text", { email: order.email, title: order.title }),
    action: t("cancel_order"),
    done: () => t("cancel_order_done"),
  });
}

function noteRefund(refund) {
  const amount = money(refund.amount);
  return (page, order) =>
    ask(page, order, "refund", {
      title: t("note_refund"),
      fields: [{ name: "reference", label: t("refund_reference"), required: true, hint: t("refund_reference_hint") }],
      added: { refund_id: refund.id },
      text: t("note_refund_text", { amount, email: order.email }),
      action: t("note_refund_do", { amount }),
      done: () => t("note_refund_done"),
    });
}

/** Asks for the fields of a change, then for a confirmation, then makes it. */
function ask(page, order, change, { title, fields, added, text, action, done }) {
  const made = form({
    fields,
    action: t("continue"),
    cancel: () => close(),
    submit(body) {
      const intent = new Intent();
      confirm({
        title,
        text,
        action,
        danger: true,
        async act() {
          const changed = await page.api.change("POST", `/api/operator/orders/${order.id}/${change}/`, {
            body: { ...body, ...added },
            intent,
          });
          return () => {
            close();
            return page.again(done(changed));
          };
        },
      });
    },
  });
  const close = openDialog(`${title}: ${order.email}`, made);
}
