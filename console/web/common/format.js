// Numbers, money and times as people read them. Money stays a text of digits: no float ever holds an amount.

import { el } from "./dom.js";
import { language } from "./i18n.js";

/** A whole number with separators. */
export function number(value) {
  return String(value).replace(/\B(?=(\d{3})+$)/g, ",");
}

/** An amount, which the API writes with two decimals. */
export function money(amount) {
  const [whole, decimals] = amount.split(".");
  const digits = number(whole) + (decimals === undefined || /^0*$/.test(decimals) ? "" : `.${decimals}`);
  return language() === "ko" ? `${digits}원` : `₩${digits}`;
}

/** Whether an amount is 0. */
export function isZero(amount) {
  return /^[0.]*$/.test(amount);
}

/** A time, to the minute, in the zone of the browser. */
export function time(instant) {
  return el("time", { datetime: instant }, toLocal(instant).slice(0, 16).replace("T", " "));
}

/** A day (`2026-11-23`), which is in no zone. */
export function day(date, style = { month: "short", day: "numeric" }) {
  return new Intl.DateTimeFormat(language(), { ...style, timeZone: "UTC" }).format(new Date(`${date}T00:00:00Z`));
}

/** The name of the browser's zone. */
export function zone() {
  return Intl.DateTimeFormat().resolvedOptions().timeZone;
}

/** A time as an input of the type `datetime-local` takes it. */
export function toLocal(instant) {
  const at = new Date(instant);
  const pad = (value, length = 2) => String(value).padStart(length, "0");
  const date = [pad(at.getFullYear(), 4), pad(at.getMonth() + 1), pad(at.getDate())].join("-");
  return `${date}T${[at.getHours(), at.getMinutes(), at.getSeconds()].map((part) => pad(part)).join(":")}`;
}

/** What such an input has, as the API takes it; as it is, if it is no time. */
export function fromLocal(text) {
  const at = new Date(text);
  return Number.isNaN(at.getTime()) ? text : at.toISOString();
}

/** A cell of CSV. One that begins like a formula gets an apostrophe, as in the API's files. */
export function csv(rows) {
  const cell = (value) => {
    const text = String(value);
    const safe = /^[=+\-@\t\r']/.test(text) ? `'${text}` : text;
    return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
  };
  return `\ufeff${rows.map((row) => row.map(cell).join(",")).join("\r\n")}\r\n`;
}
