// The frame of the console: navigation, language, session, and which view an address shows.

import { Api, ApiError, withQuery } from "../common/api.js";
import { closeDialogs, problem } from "../common/dialog.js";
import { announce, button, el, live } from "../common/dom.js";
import { addTexts, language, setLanguage, t } from "../common/i18n.js";
import * as audit from "./audit.js";
import * as figures from "./figures.js";
import * as item from "./item.js";
import * as items from "./items.js";
import { login } from "./login.js";
import * as orders from "./orders.js";
import * as payments from "./payments.js";
import { texts } from "./texts.js";
import * as users from "./users.js";

addTexts(texts);

/** Patterns of addresses (behind `#`), and the view of each: `view(page, ...groups)` returns `{ title, content }`. */
const VIEWS = [
  [/^\/(courses|tests)$/, items.list],
  [/^\/(courses|tests)\/new$/, items.create],
  [/^\/(courses|tests)\/(\d+)$/, item.show],
  [/^\/orders$/, orders.list],
  [/^\/payments$/, payments.list],
  [/^\/payments\/(\d+)$/, payments.show],
  [/^\/users$/, users.list],
  [/^\/users\/(\d+)$/, users.show],
  [/^\/figures$/, figures.show],
  [/^\/audit$/, audit.show],
];
const SECTIONS = ["courses", "tests", "orders", "payments", "users", "figures", "audit"];
const FIRST = "#/courses";

const api = new Api(() => frame(t("session_ended")));
/** The operator's own account, as the API has it: null until it has proven the right. */
let self = null;
/** Cancels what the view before has asked for. */
let current = new AbortController();
const main = el("main", { id: "main", tabindex: "-1" });

window.addEventListener("hashchange", () => {
  closeDialogs();
  show();
});
window.addEventListener("unhandledrejection", (event) => {
  if (event.reason?.name === "AbortError") event.preventDefault();
  if (!(event.reason instanceof ApiError)) return;
  event.preventDefault();
  announce(event.reason.message);
});
frame();

/** Draws the whole page again: after a login, its end, and a change of the language. */
async function frame(notice) {
  document.documentElement.lang = language();
  main.replaceChildren();
  main.removeAttribute("aria-busy");
  if (api.user === null) {
    self = null;
    document.title = `${t("login")} · sugang`;
    document.body.replaceChildren(header([]), main, live);
    main.replaceChildren(login(api, notice, frame));
    return;
  }
  document.body.replaceChildren(
    el("a", { class: "skip", href: "#main", onclick: skip }, t("skip")),
    header(SECTIONS),
    main,
    live,
  );
  await show(true);
}

function skip(event) {
  event.preventDefault();
  main.focus();
}

function header(sections) {
  const links = sections.map((name) => el("a", { href: `#/${name}` }, t(name)));
  return el(
    "header",
    { class: "bar" },
    el("a", { class: "brand", href: FIRST }, "sugang", el("span", {}, t("console"))),
    sections.length > 0 && el("nav", { "aria-label": t("sections") }, links),
    el("div", { class: "end" }, languages(), api.user && session()),
  );
}

function languages() {
  const choice = (name, text) =>
    button(text, () => choose(name), { lang: name, "aria-pressed": String(language() === name) });
  const choose = (name) => {
    setLanguage(name);
    frame();
    document.querySelector(".languages [aria-pressed=true]").focus();
  };
  return el(
    "div",
    { class: "languages", role: "group", "aria-label": t("language") },
    choice("ko", "한국어"),
    choice("en", "English"),
  );
}

function session() {
  const end = async () => {
    await api.logout();
    frame();
  };
  return [el("span", { class: "who" }, api.user.email), button(t("logout"), end, { class: "plain" })];
}

/** Shows the view of the address. */
async function show(isFirst = false) {
  if (api.user === null) return;
  if (!location.hash.startsWith("#/")) return location.replace(FIRST);
  const [path, search = ""] = location.hash.slice(1).split("?");
  mark(path);
  current.abort();
  const { signal } = (current = new AbortController());
  main.setAttribute("aria-busy", "true");
  const page = pageFor(path, Object.fromEntries(new URLSearchParams(search)), signal);
  let view;
  try {
    self ??= await proveOperator();
    page.self = self;
    view = await find(path)(page);
  } catch (error) {
    if (error.name === "AbortError") return;
    if (!(error instanceof ApiError)) throw error;
    if (error.status === 404 && self !== null) await proveAgain();
    if (api.user === null) return;
    view = refusal(error);
  }
  if (signal.aborted) return;
  main.removeAttribute("aria-busy");
  document.title = `${view.title} · sugang`;
  const heading = el("h1", { tabindex: "-1" }, view.title);
  main.replaceChildren(
    el("div", { class: "heading" }, heading, view.aside ?? []),
    ...[view.content].flat().filter(Boolean),
  );
  if (!isFirst && !document.querySelector("dialog[open]")) heading.focus();
}

/** What a view works with. */
function pageFor(path, query, signal) {
  return {
    api,
    self,
    query,
    get: (address, parameters) => api.get(address, parameters, signal),
    lines: (address, each) => api.lines(address, each, signal),
    /** Goes to an address. */
    go(address, parameters = {}) {
      const hash = `#${withQuery(address, parameters)}`;
      if (location.hash === hash) show();
      else location.hash = hash;
    },
    /** Shows the same view with another query. */
    search: (parameters) => pageFor(path, query, signal).go(path, parameters),
    /** Shows the same view again, after a change. */
    async again(text) {
      await show();
      if (text) announce(text);
    },
  };
}

function find(path) {
  for (const [pattern, view] of VIEWS) {
    const match = pattern.exec(path);
    if (match) return (page) => view(page, ...match.slice(1));
  }
  return () => ({ title: t("no_such_page") });
}

/** Reads the own account, which only operators can. */
async function proveOperator() {
  try {
    return await api.get(`/api/operator/users/${api.user.id}/`);
  } catch (error) {
    if (error.status !== 404) throw error;
    await api.logout();
    frame(t("no_operator"));
    throw error;
  }
}

/** Without the right, nothing is found either: then this ends the session. */
async function proveAgain() {
  self = null;
  self = await proveOperator().catch(() => null);
}

function refusal(error) {
  const retry = button(t("again"), () => show());
  const text = error.status === 404 ? el("p", {}, t("not_found_item")) : problem(error);
  return {
    title: error.status === 404 ? error.message : t("again"),
    content: el("div", { class: "card" }, text, retry),
  };
}

function mark(path) {
  for (const link of document.querySelectorAll("header.bar nav a")) {
    const isHere = path === link.hash.slice(1) || path.startsWith(`${link.hash.slice(1)}/`);
    if (isHere) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
}
