// The form to log in.

import { form } from "../common/form.js";
import { el } from "../common/dom.js";
import { t } from "../common/i18n.js";

/** Makes the form; `done` is called after a login. */
export function login(api, notice, done) {
  const made = form({
    fields: [
      { name: "email", label: t("email"), type: "email", required: true, attributes: { autocomplete: "username" } },
      {
        name: "password",
        label: t("password"),
        type: "password",
        required: true,
        attributes: { autocomplete: "current-password" },
      },
    ],
    action: t("login"),
    async submit({ email, password }) {
      await api.login(email, password);
      await done();
    },
  });
  queueMicrotask(() => made.querySelector("input").focus());
  return el(
    "section",
    { class: "login card" },
    el("h1", {}, t("console")),
    notice && el("p", { class: "notice", role: "alert" }, notice),
    made,
  );
}
