// The API, as this page calls it.
//
// Tokens stand in sessionStorage: they survive a reload and end with the tab, other tabs do not see them, and no other
// site can have the browser send them, as it could with a cookie. A script that could read them cannot run: the policy of
// this page admits only its own files.

import { language } from "./i18n.js";

const STORED = "sugang.session";

/** A refusal by the API, or no answer at all (`status` 0). */
export class ApiError extends Error {
  constructor(status, body, text) {
    const fields = fieldsOf(body);
    super(body.detail ?? body.error ?? body.message ?? Object.values(fields)[0]?.[0] ?? text);
    this.status = status;
    this.code = body.code ?? "";
    this.fields = fields;
    this.left = body.left;
    /** What is wrong with rows of a file or a list, as the API answers it. */
    this.rows = Array.isArray(body.rows) ? body.rows : [];
    this.requestId = body.request_id;
  }

  /** Whether the request may have taken effect all the same. */
  get isUncertain() {
    return this.status === 0 || this.status >= 500;
  }
}

/** The messages that stand under the names of fields. */
function fieldsOf(body) {
  const isMessages = ([name, value]) => name !== "rows" && Array.isArray(value);
  return Object.fromEntries([...Object.entries(body), ...Object.entries(body.errors ?? {})].filter(isMessages));
}

/**
 * What a person means to do once. Its key stays the same while the outcome is unknown, so that a second click after a
 * lost answer repeats nothing; it is another one as soon as something else is asked.
 */
export class Intent {
  #key = null;
  #asked = null;

  keyFor(asked) {
    if (this.#key === null || this.#asked !== asked) this.#key = randomKey();
    this.#asked = asked;
    return this.#key;
  }

  settle() {
    this.#key = null;
  }
}

function randomKey() {
  // crypto.randomUUID is missing on a page that came without TLS.
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** A session of the API, or none. */
export class Api {
  #session = read();
  #refreshing = null;
  #onEnd;

  /** `onEnd` is called when the API ends the session. */
  constructor(onEnd) {
    this.#onEnd = onEnd;
  }

  /** The user whose session it is; null without one. */
  get user() {
    return this.#session?.user ?? null;
  }

  async login(email, password) {
    const answer = await this.#send("POST", "/login/", { body: JSON.stringify({ email, password }) });
    this.#keep(await answer.json());
  }

  async logout() {
    const refresh = this.#session?.refresh;
    this.#keep(null);
    const body = JSON.stringify({ refresh });
    // The tokens are gone from this page, whatever the answer is.
    if (refresh) await this.#send("POST", "/logout/", { body }).catch(() => {});
  }

  /** Reads JSON. `query` leaves out what is empty. */
  async get(path, query = {}, signal = undefined) {
    const answer = await this.#authorized("GET", withQuery(path, query), { signal });
    return answer.json();
  }

  /** Reads JSON Lines while they arrive, and calls `each` with each of them. */
  async lines(path, each, signal = undefined) {
    const answer = await this.#authorized("GET", path, { signal });
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    try {
      for (;;) {
        const { done, value } = await reader.read();
        if (done) return;
        const lines = (rest + value).split("\n");
        rest = lines.pop();
        for (const line of lines) each(JSON.parse(line));
      }
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new ApiError(0, {}, noAnswer());
    }
  }

  /** Changes something. Returns the JSON of the answer; null if it has none. */
  async change(method, path, { body, version, intent = new Intent() } = {}) {
    const text = body === undefined ? undefined : JSON.stringify(body);
    const headers = { "idempotency-key": intent.keyFor(`${method} ${path} ${version} ${text}`) };
    if (version !== undefined) headers["if-match"] = `"${version}"`;
    return this.#change(method, path, { body: text, headers }, intent);
  }

  /** Sends a file of CSV or JSON Lines. Returns the JSON of the answer. */
  async upload(path, file, intent = new Intent()) {
    const headers = {
      "content-type": /\.(jsonl|ndjson)$/i.test(file.name) ? "application/x-ndjson" : "text/csv",
      "idempotency-key": intent.keyFor(`${path} ${file.name} ${file.size} ${file.lastModified}`),
    };
    return this.#change("POST", path, { body: file, headers }, intent);
  }

  async #change(method, path, request, intent) {
    try {
      const answer = await this.#authorized(method, path, request);
      intent.settle();
      return answer.status === 204 ? null : await answer.json();
    } catch (error) {
      if (!(error instanceof ApiError && error.isUncertain)) intent.settle();
      throw error;
    }
  }

  /** Reads a file. */
  async file(path, query = {}) {
    const answer = await this.#authorized("GET", withQuery(path, query), {});
    try {
      return await answer.blob();
    } catch {
      throw new ApiError(0, {}, noAnswer());
    }
  }

  async #authorized(method, path, request) {
    const access = this.#session?.access;
    try {
      return await this.#send(method, path, request, access);
    } catch (error) {
      // To an expired token, no path of operators exists.
      if (![401, 404].includes(error.status) || access === undefined) throw error;
    }
    await this.#refresh(access);
    return this.#send(method, path, request, this.#session.access);
  }

  /** Gets a new access token, once for all requests that need one. */
  async #refresh(expired) {
    if (this.#session?.access !== expired && this.#session) return;
    this.#refreshing ??= this.#renew().finally(() => (this.#refreshing = null));
    await this.#refreshing;
  }

  async #renew() {
    try {
      const body = JSON.stringify({ refresh: this.#session?.refresh });
      const answer = await this.#send("POST", "/token/refresh/", { body });
      this.#keep({ ...this.#session, ...(await answer.json()) });
    } catch (error) {
      if (error.status === 401 || error.status === 400) {
        this.#keep(null);
        this.#onEnd();
      }
      throw error;
    }
  }

  async #send(method, path, { body, headers = {}, signal }, access) {
    const all = { accept: "application/json, text/csv, application/x-ndjson", "accept-language": language() };
    if (body !== undefined) all["content-type"] = "application/json";
    if (access) all.authorization = `Bearer ${access}`;
    Object.assign(all, headers);
    let answer;
    try {
      answer = await fetch(path, { method, body, headers: all, signal, credentials: "omit", cache: "no-store" });
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new ApiError(0, {}, noAnswer());
    }
    if (answer.ok) return answer;
    const refused = await answer.json().catch(() => ({}));
    throw new ApiError(answer.status, refused ?? {}, `HTTP ${answer.status}`);
  }

  #keep(session) {
    this.#session = session;
    if (session === null) sessionStorage.removeItem(STORED);
    else sessionStorage.setItem(STORED, JSON.stringify(session));
  }
}

function read() {
  try {
    return JSON.parse(sessionStorage.getItem(STORED));
  } catch {
    return null;
  }
}

function noAnswer() {
  return language() === "ko"
    ? "서버에 연결하지 못했습니다. 다시 시도하면 같은 요청이 두 번 처리되지 않습니다."
    : "The service did not answer. Trying again will not do the same thing twice.";
}

/** A path with the values of a query that are not empty. */
export function withQuery(path, query) {
  const given = Object.entries(query).filter(([, value]) => value !== undefined && value !== null && value !== "");
  const text = new URLSearchParams(given).toString();
  return text ? `${path}?${text}` : path;
}
