// The two languages. A text is a pair, so that none lacks a translation.

const STORED = "sugang.language";
const LANGUAGES = ["ko", "en"];

let texts = {};
let current = stored() ?? preferred();

/** Adds texts: `{ key: ["한국어", "English"] }`. `{name}` in a text is replaced by a value. */
export function addTexts(more) {
  texts = { ...texts, ...more };
}

/** The language of the page: `ko` or `en`. */
export function language() {
  return current;
}

/** Chooses the language, for this browser's later visits as well. */
export function setLanguage(chosen) {
  current = chosen;
  try {
    localStorage.setItem(STORED, chosen);
  } catch {
    // A browser without storage forgets it.
  }
}

/** The text with this key in the language of the page. */
export function t(key, values = {}) {
  const text = texts[key]?.[LANGUAGES.indexOf(current)] ?? key;
  return text.replace(/\{(\w+)\}/g, (_, name) => values[name] ?? "");
}

/** The text of a word that the API answers; the word itself if a later version has added it. */
export function word(group, value) {
  const key = `${group}.${value}`;
  return key in texts ? t(key) : value;
}

function stored() {
  try {
    const chosen = localStorage.getItem(STORED);
    return LANGUAGES.includes(chosen) ? chosen : null;
  } catch {
    return null;
  }
}

/** As the API decides it: Korean, unless the browser prefers English. */
function preferred() {
  const languages = navigator.languages.map((tag) => tag.split("-")[0]);
  return languages.find((tag) => LANGUAGES.includes(tag)) ?? "ko";
}
