// Creating many exams or courses at once: of a file, or as copies of one.

import { Intent } from "../common/api.js";
import { confirm, openDialog } from "../common/dialog.js";
import { announce } from "../common/dom.js";
import { number, zone } from "../common/format.js";
import { form } from "../common/form.js";
import { t } from "../common/i18n.js";

/** Asks for a file, checks it, then says how many items it creates, then creates them. */
export function importFile(page, kind) {
  const path = `/api/operator/${kind}/import/`;
  const made = form({
    fields: [
      {
        name: "file",
        label: t("file"),
        type: "file",
        required: true,
        hint: t("import_hint"),
        attributes: { accept: ".csv,.jsonl,.ndjson" },
      },
    ],
    action: t("import_check"),
    cancel: () => close(),
    async submit({ file = new Blob() }) {
      const { count } = await page.api.upload(`${path}?dry_run=true`, file);
      const intent = new Intent();
      const n = number(count);
      confirm({
        title: t("import"),
        text: t("import_text", { n, name: file.name }),
        action: t("import_do", { n }),
        async act() {
          await page.api.upload(path, file, intent);
          return () => {
            close();
            return page.again(t("created_many", { n }));
          };
        },
      });
    },
  });
  const close = openDialog(t("import"), made);
}

/** Asks how often an item is repeated, then creates the copies. */
export function repeat(page, kind, item) {
  const intent = new Intent();
  const made = form({
    fields: [
      {
        name: "every",
        label: t("every"),
        type: "select",
        value: "week",
        options: ["day", "week", "month"].map((every) => [every, t(`every.${every}`)]),
      },
      { name: "count", label: t("copies"), half: true, attributes: { inputmode: "numeric" } },
      { name: "until", label: t("until"), type: "date", half: true, hint: t("until_hint") },
      { name: "time_zone", label: t("time_zone"), required: true, value: zone(), hint: t("time_zone_hint") },
    ],
    action: t("repeat_do"),
    cancel: () => close(),
    async submit(values) {
      const body = Object.fromEntries(Object.entries(values).filter(([, value]) => value !== ""));
      const { count } = await page.api.change("POST", `/api/operator/${kind}/${item.id}/repeat/`, { body, intent });
      close();
      page.go(`/${kind}`);
      announce(t("created_many", { n: number(count) }));
    },
  });
  const close = openDialog(t("repeat"), made);
}
