// Registrations and money by day.

import { button, el } from "../common/dom.js";
import { csv, day, money, number } from "../common/format.js";
import { filters } from "../common/form.js";
import { t } from "../common/i18n.js";
import { plot } from "../common/plot.js";
import { save, table } from "../common/table.js";

const DAYS = 30;

/** The page of the figures: of the last days, unless the address names others. */
export async function show(page) {
  const today = new Date();
  const iso = (date) => date.toISOString().slice(0, 10);
  const since = new Date(today);
  since.setUTCDate(today.getUTCDate() - DAYS + 1);
  const query = { ...page.query, from: page.query.from || iso(since), to: page.query.to || iso(today) };
  const figures = await page.get("/api/operator/figures/", query);
  const { days } = figures;
  const columns = [
    {
      head: t("day"),
      cell: (row) => (row.day === null ? el("strong", {}, t("total")) : day(row.day, { dateStyle: "medium" })),
    },
    { head: t("registered"), numeric: true, cell: ({ registered }) => number(registered) },
    { head: t("cancelled"), numeric: true, cell: ({ cancelled }) => number(cancelled) },
    { head: t("money_in"), numeric: true, cell: ({ money_in }) => money(money_in) },
    { head: t("money_out"), numeric: true, cell: ({ money_out }) => money(money_out) },
  ];
  return {
    title: t("figures"),
    aside: button(t("csv"), () => save(file(days), `figures-${query.from}-${query.to}.csv`)),
    content: [
      filters(
        [
          { name: "from", label: t("from"), type: "date" },
          { name: "to", label: t("to"), type: "date" },
          {
            name: "kind",
            label: t("kind"),
            type: "select",
            options: [
              ["", t("all")],
              ["course", t("courses")],
              ["test", t("tests")],
            ],
          },
        ],
        query,
        (values) => page.search(values),
      ),
      plot({
        title: t("by_day_registrations"),
        up: t("registered"),
        down: t("cancelled"),
        days: days.map((row) => ({ day: row.day, up: row.registered, down: row.cancelled })),
        format: (value) => number(value),
      }),
      plot({
        title: t("by_day_money"),
        up: t("money_in"),
        down: t("money_out"),
        // A plot may round; the table beneath does not.
        days: days.map((row) => ({ day: row.day, up: Number(row.money_in), down: Number(row.money_out) })),
        format: (value) => money(String(value)),
      }),
      table({ caption: t("figures"), columns, rows: [{ ...figures, day: null }, ...[...days].reverse()] }),
      el("p", { class: "quiet" }, t("utc_days")),
    ],
  };
}

function file(days) {
  const names = ["day", "registered", "cancelled", "money_in", "money_out"];
  const rows = [names, ...days.map((row) => names.map((name) => row[name]))];
  return new Blob([csv(rows)], { type: "text/csv;charset=utf-8" });
}
