// The audit: whether seats, money, counts and history agree.

import { problem } from "../common/dialog.js";
import { announce, button, el } from "../common/dom.js";
import { number } from "../common/format.js";
import { t } from "../common/i18n.js";
import { table } from "../common/table.js";

/** The page of the audit, which a person starts. */
export function show(page) {
  const progress = el("progress", { max: 1, value: 0, "aria-label": t("audit"), hidden: true });
  const found = el("div", {});
  const start = button(t("audit_start"), run, { class: "primary" });
  return {
    title: t("audit"),
    aside: start,
    content: [el("p", {}, t("audit_text")), progress, found],
  };

  async function run() {
    // A button that is disabled would lose the focus.
    if (start.ariaDisabled === "true") return;
    const checks = [];
    start.ariaDisabled = "true";
    progress.hidden = false;
    progress.value = 0;
    try {
      await page.lines("/api/operator/audit/", (check) => {
        checks.push(check);
        progress.max = check.checks;
        progress.value = check.number;
        found.replaceChildren(results(checks));
      });
      const wrong = checks.filter(({ count }) => count > 0).length;
      announce(wrong === 0 ? t("audit_clean", { n: checks.length }) : t("audit_found", { n: wrong }));
    } catch (error) {
      if (error.name === "AbortError") return;
      found.prepend(el("div", { role: "alert" }, problem(error)));
    } finally {
      start.ariaDisabled = "false";
    }
  }
}

/** What the checks have found so far, first what is wrong. */
function results(checks) {
  const { length } = checks;
  const wrong = checks.filter(({ count }) => count > 0);
  const columns = [
    { head: t("check"), cell: ({ check, kind }) => [check, kind && el("span", { class: "quiet block" }, t(`${kind}s`))] },
    { head: t("status"), cell: state },
    { head: t("rows"), wide: true, cell: rowsOf },
  ];
  return el(
    "section",
    { "aria-labelledby": "audit-results" },
    el("h2", { id: "audit-results" }, t("audit_progress", { n: length, of: checks[0].checks, wrong: wrong.length })),
    table({ caption: t("audit"), columns, rows: [...wrong, ...checks.filter(({ count }) => count === 0)] }),
  );
}

function state({ count }) {
  if (count === 0) return el("span", { class: "status" }, t("audit_ok"));
  return el("span", { class: "badge warn" }, t("audit_wrong", { n: number(count) }));
}

function rowsOf({ count, ids, advice }) {
  if (count === 0) return "";
  const more = count > ids.length && t("and_more", { n: number(count - ids.length) });
  return [
    el("ul", { class: "ids" }, [...ids, more].filter(Boolean).map((id) => el("li", {}, id))),
    el("p", { class: "quiet" }, advice),
  ];
}
