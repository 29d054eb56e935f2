// One exam or course: what it is, its figures, and what an operator does with it.

import { Intent } from "../common/api.js";
import { confirm, openDialog } from "../common/dialog.js";
import { announce, button, el } from "../common/dom.js";
import { isZero, money, number, time } from "../common/format.js";
import { t } from "../common/i18n.js";
import { repeat } from "./create.js";
import { badges, itemForm } from "./items.js";
import { registrations } from "./registrations.js";

/** The page of one item. */
export async function show(page, kind, id) {
  const path = `/api/operator/${kind}/${id}/`;
  const [item, figures, registered] = await Promise.all([
    page.get(path),
    page.get(`${path}figures/`),
    registrations(page, kind, id),
  ]);
  return {
    title: item.title,
    aside: [
      button(t("edit"), () => edit(page, path, item)),
      button(t("repeat"), () => repeat(page, kind, item)),
      button(t(item.hidden ? "show" : "hide"), () => setHidden(page, path, item)),
      button(t("delete"), () => remove(page, kind, path, item), { class: "danger" }),
    ],
    content: [
      el("p", { class: "lead" }, el("span", { class: "quiet" }, `${t(`one.${kind}`)} ${item.id}`), badges(item)),
      item.description && el("p", { class: "text" }, item.description),
      facts([
        [t("price"), isZero(item.price) ? t("free") : money(item.price)],
        [t("start_at"), time(item.start_at)],
        [t("end_at"), time(item.end_at)],
        [t("capacity"), item.capacity === null ? t("unlimited") : number(item.capacity)],
        [t("remaining"), figures.remaining === null ? t("unlimited") : number(figures.remaining)],
        [t("registered"), number(figures.registered)],
        [t("registration_status.completed"), number(figures.completed)],
        [t("cancelled"), number(figures.cancelled)],
        [t("money_in"), money(figures.money_in)],
        [t("money_out"), money(figures.money_out)],
      ]),
      registered,
    ],
  };
}

/** A list of terms with what they are. */
export function facts(pairs) {
  return el(
    "dl",
    { class: "facts card" },
    pairs.map(([term, value]) => el("div", {}, el("dt", {}, term), el("dd", {}, value))),
  );
}

function edit(page, path, item) {
  const intent = new Intent();
  const made = itemForm({
    item,
    action: t("save"),
    cancel: () => close(),
    async submit(body) {
      try {
        if (Object.keys(body).length > 0) {
          await page.api.change("PATCH", path, { body, version: item.version, intent });
        }
      } catch (error) {
        if (error.status === 412) offerReload();
        throw error;
      }
      close();
      await page.again(t("saved"));
    },
  });
  const close = openDialog(t("edit"), made);

  function offerReload() {
    const load = () => {
      close();
      page.again();
    };
    if (!made.querySelector(".reload"))
      made.querySelector("footer").prepend(button(t("reload"), load, { class: "reload" }));
  }
}

function setHidden(page, path, item) {
  const word = item.hidden ? "show" : "hide";
  const intent = new Intent();
  confirm({
    title: item.title,
    text: t(`${word}_text`),
    action: t(word),
    async act() {
      await page.api.change("PATCH", path, { body: { hidden: !item.hidden }, version: item.version, intent });
      return () => page.again(t(item.hidden ? "now_shown" : "now_hidden"));
    },
  });
}

function remove(page, kind, path, item) {
  const intent = new Intent();
  confirm({
    title: item.title,
    text: t("delete_text"),
    action: t("delete"),
    danger: true,
    async act() {
      await page.api.change("DELETE", path, { version: item.version, intent });
      return () => {
        page.go(`/${kind}`);
        announce(t("deleted"));
      };
    },
  });
}
