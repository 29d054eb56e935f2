// Users, and what an operator does with their accounts.

import { Intent } from "../common/api.js";
import { confirm } from "../common/dialog.js";
import { button, el } from "../common/dom.js";
import { number, time } from "../common/format.js";
import { filters } from "../common/form.js";
import { t } from "../common/i18n.js";
import { pager, table } from "../common/table.js";
import { facts } from "./item.js";
import { download } from "./items.js";
import { paymentTable } from "./payments.js";
import { stateColumns } from "./registrations.js";

/** A page of users. */
export async function list(page) {
  const { query } = page;
  const found = await page.get("/api/operator/users/", query);
  const columns = [
    { head: t("id"), numeric: true, cell: ({ id }) => String(id) },
    { head: t("email"), wide: true, cell: ({ id, email }) => el("a", { href: `#/users/${id}` }, email) },
    { head: t("username"), cell: ({ username }) => username },
    { head: t("role"), cell: role },
    { head: t("status"), cell: state },
    { head: t("last_login"), cell: ({ last_login }) => (last_login ? time(last_login) : t("none")) },
  ];
  return {
    title: t("users"),
    aside: button(t("csv"), () => download(page, "/api/operator/users.csv", { ...query, page: "" }, "users.csv")),
    content: [
      filters(
        [
          { name: "email", label: t("email"), type: "search", attributes: { title: t("begins_with") } },
          { name: "username", label: t("username"), type: "search", attributes: { title: t("begins_with") } },
        ],
        query,
        (values) => page.search(values),
      ),
      table({ caption: t("users"), columns, rows: found.results }),
      pager(found, query, (number) => page.search({ ...query, page: number })),
    ],
  };
}

function role({ is_operator, is_superuser }) {
  if (is_superuser) return t("role.superuser");
  return t(is_operator ? "role.operator" : "role.user");
}

function state({ is_active }) {
  return el("span", { class: `status ${is_active ? "active" : "inactive"}` }, t(is_active ? "active" : "inactive"));
}

/** The page of one user. */
export async function show(page, id) {
  const path = `/api/operator/users/${id}/`;
  const [user, registered, payments] = await Promise.all([
    page.get(path),
    page.get(`${path}registrations/`, page.query),
    page.get("/api/operator/payments/", { user: id }),
  ]);
  const columns = [
    { head: t("target"), wide: true, cell: (row) => el("a", { href: `#/${row.kind}s/${row.item_id}` }, row.title) },
    ...stateColumns().map((column) => ({ ...column, cell: ({ registration }) => column.cell(registration) })),
  ];
  return {
    title: user.email,
    aside: actions(page, path, user),
    content: [
      facts([
        [t("username"), user.username],
        [t("role"), role(user)],
        [t("status"), state(user)],
        [t("last_login"), user.last_login ? time(user.last_login) : t("none")],
        [t("payments"), number(user.payments)],
        [t("courses"), number(user.registrations.course)],
        [t("tests"), number(user.registrations.test)],
      ]),
      el("h2", {}, t("registrations_of_user")),
      table({ caption: t("registrations_of_user"), columns, rows: registered.results }),
      pager(registered, page.query, (number) => page.search({ page: number })),
      el("h2", {}, t("payments")),
      paymentTable(payments.results, true),
      payments.next &&
        el("p", {}, el("a", { href: `#/payments?user=${user.id}` }, t("all_payments", { n: number(user.payments) }))),
    ],
  };
}

/** The buttons for what this operator may do with this user. */
function actions(page, path, user) {
  const isSelf = page.self.id === user.id;
  const ask = (word, method, address, danger) =>
    button(
      t(word),
      () => change(page, user, word, method, `${path}${address}/`, danger),
      danger ? { class: "danger" } : {},
    );
  const mayChange = page.self.is_superuser || !user.is_operator;
  return [
    !isSelf && mayChange && ask("logout_everywhere", "POST", "logout", false),
    page.self.is_superuser &&
      !user.is_superuser &&
      !user.is_operator &&
      ask("make_operator", "POST", "operator", false),
    page.self.is_superuser &&
      !user.is_superuser &&
      user.is_operator &&
      ask("unmake_operator", "DELETE", "operator", true),
    !isSelf &&
      mayChange &&
      (user.is_active ? ask("deactivate", "POST", "deactivate", true) : ask("activate", "POST", "activate", false)),
  ];
}

function change(page, user, word, method, address, danger) {
  const intent = new Intent();
  confirm({
    title: `${t(word)}: ${user.email}`,
    text: t(`${word}_text`),
    action: t(word),
    danger,
    async act() {
      await page.api.change(method, address, { intent });
      return () => page.again(t("done"));
    },
  });
}
