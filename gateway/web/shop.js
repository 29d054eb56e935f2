// A small shop for developers: logs in, holds a seat, opens the payment window of a gateway, approves, and gives money back.
// It calls the API as every client does.

// KakaoPay's window comes back to this address, whose storage has the login.
if (location.hostname === "localhost") location.hostname = "127.0.0.1";

const api = document.body.dataset.api;
const texts = {
  ko: {
    title: "결제 연습", about: "가짜 결제사입니다. 실제 돈은 움직이지 않습니다.", books: "결제사의 장부",
    password: "비밀번호", login: "로그인", hold: "자리 잡기", card: "카드로 결제", kakaopay: "카카오페이로 결제",
    transfer: "계좌이체로 결제", payIn: "가상계좌로 결제", over: "서비스를 거쳐 돌아오기", cancel: "취소", refund: "환불",
    items: "시험과 강의", payments: "내 결제", order: "주문", again: "다시 보기", empty: "없음", seats: "초 남음",
    account: "환불받을 계좌 (은행, 계좌번호, 예금주)", noWindow: "결제창이 열리지 않았습니다. 다시 눌러 주세요.",
  },
  en: {
    title: "Try a payment", about: "A stand-in for a payment gateway. No real money moves.", books: "The gateway's books",
    password: "Password", login: "Log in", hold: "Hold a seat", card: "Pay by card", kakaopay: "Pay by KakaoPay",
    transfer: "Pay by bank transfer", payIn: "Pay in to an account", over: "Come back over the service",
    cancel: "Cancel", refund: "Refund", items: "Exams and courses", payments: "My payments", order: "Order",
    again: "Look again", empty: "None", seats: "seconds left", account: "Account for the refund (bank, number, holder)",
    noWindow: "The payment window was not opened. Try again.",
  },
};

const store = sessionStorage;
let language = store.language ?? (navigator.language.startsWith("ko") ? "ko" : "en");
const text = (name) => texts[language][name];
const element = (id) => document.getElementById(id);

function make(tag, content, properties = {}) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...[content].flat());
  return made;
}

const button = (name, onclick) => make("button", text(name), { onclick, id: name });

async function call(method, path, body) {
  const headers = { "accept-language": language };
  if (store.token) headers.authorization = `Bearer ${store.token}`;
  if (body) headers["content-type"] = "application/json";
  if (method === "POST") headers["idempotency-key"] = crypto.randomUUID();
  const answer = await fetch(api + path, { method, headers, body: body && JSON.stringify(body) });
  const json = await answer.json();
  if (answer.status === 401) store.removeItem("token");
  if (!answer.ok) {
    const error = new Error(`${answer.status} ${json.error ?? json.detail ?? JSON.stringify(json)}`);
    throw Object.assign(error, { answer: json });
  }
  // A refund whose outcome is not known yet.
  if (answer.status === 202 && json.message) element("problem").textContent = json.message;
  return json;
}

/** Does something, shows what goes wrong, and draws the page again. */
async function attempt(work) {
  element("problem").textContent = "";
  try {
    await work();
  } catch (error) {
    element("problem").textContent = error.message;
  }
  await draw().catch((error) => { element("problem").textContent = error.message; });
}

function hold(kind, item) {
  return attempt(async () => {
    const body = { amount: item.price, payment_method: "card" };
    const order = await call("POST", `/${kind}/${item.id}/preorder/`, body);
    store.order = order.id;
  });
}

const home = new URL("/", location.href).href;

/** The address of the gateway's own window, which comes back to `back`. */
const windows = {
  toss: ({ reference, order_name, amount }, back, way) => `/window?${new URLSearchParams({
    orderId: reference, amount: Math.round(Number(amount)), orderName: order_name, successUrl: back, failUrl: back, way,
  })}`,
  portone: ({ reference, order_name, amount }, back, way) => `/portone/window?${new URLSearchParams({
    paymentId: reference, totalAmount: Math.round(Number(amount)), orderName: order_name, redirectUrl: back, way,
  })}`,
  kakaopay: ({ redirect_pc_url }) => redirect_pc_url,
};

/** Orders the same again with a method of payment, which changes nothing else, and opens the window of its gateway. */
function pay(order, method, way = "") {
  return attempt(async () => {
    const body = { amount: order.amount, payment_method: method };
    if (store.over) body.return_url = home;
    const kind = order.item_type === "course" ? "courses" : "tests";
    const { window, return_url } = await call("POST", `/${kind}/${order.item_id}/preorder/`, body);
    if (!windows[window?.gateway]) throw new Error(text("noWindow"));
    location.href = windows[window.gateway](window, return_url ?? home, way);
  });
}

/** What the payment window has brought back. */
async function returned() {
  const query = new URLSearchParams(location.search);
  const first = (...names) => names.map((name) => query.get(name)).find(Boolean);
  history.replaceState(null, "", "/");
  const failed = ["cancelled", "failed"].find((result) => result === query.get("result"));
  if (failed || first("code")) throw new Error(failed ?? `${first("pgCode", "code")} ${first("message") ?? ""}`);
  const key = first("paymentKey", "paymentToken", "pg_token");
  if (key && store.order) await call("POST", `/orders/${store.order}/approve/`, { payment_key: key });
}

async function drawOrder() {
  const section = element("order");
  section.hidden = !store.order;
  if (!store.order) return;
  const order = await call("GET", `/orders/${store.order}/`);
  const left = Math.max(0, Math.round((Date.parse(order.expires_at) - Date.parse(order.now)) / 1000));
  const rows = [make("h2", `${text("order")} ${order.id}`), make("p", [
    make("strong", order.status, { id: "status" }),
    order.status === "held" ? ` ${left} ${text("seats")}` : "",
    order.refund ? ` refund: ${order.refund.status}` : "",
    order.deposit ? ` ${order.deposit.account} ${order.deposit.amount}` : "",
    order.declined_code ? ` ${order.declined_code}` : "",
  ])];
  if (order.status === "held") {
    rows.push(
      button("card", () => pay(order, "card")), button("kakaopay", () => pay(order, "kakaopay")),
      button("transfer", () => pay(order, "bank_transfer")), button("payIn", () => pay(order, "card", "virtual_account")),
      make("label", [overService(), text("over")]),
    );
  }
  if (["held", "awaiting_deposit"].includes(order.status)) {
    rows.push(button("cancel", () => attempt(() => call("POST", `/orders/${order.id}/cancel/`))));
  }
  rows.push(button("again", () => attempt(() => {})));
  section.replaceChildren(...rows);
}

/** Whether the window sends the browser back to the service, which approves by itself, instead of to this page. */
function overService() {
  return make("input", [], {
    type: "checkbox", checked: Boolean(store.over), ariaLabel: text("over"),
    onchange: ({ target }) => { store.over = target.checked ? "yes" : ""; },
  });
}

function table(rows, cells) {
  if (rows.length === 0) return make("p", text("empty"));
  return make("table", rows.map((row) => make("tr", cells(row).map((cell) => make("td", cell)))));
}

async function drawItems() {
  const kinds = await Promise.all(["tests", "courses"].map(async (kind) => {
    const page = await call("GET", `/${kind}/?status=available`);
    return page.results.filter((item) => !item.is_registered).slice(0, 5).map((item) => ({ kind, item }));
  }));
  const rows = table(kinds.flat(), ({ kind, item }) => [item.title, item.price, button("hold", () => hold(kind, item))]);
  element("items").replaceChildren(make("h2", text("items")), rows);
}

/** Cancels a payment; one that was paid in goes back to an account. */
async function giveBack(payment) {
  const path = `/payments/${payment.id}/cancel/`;
  try {
    await call("POST", path);
  } catch (error) {
    if (!error.answer?.refund_account) throw error;
    const [bank, account_number, holder] = (prompt(text("account"), "20, 1234567890, 김수강") ?? "").split(/ *, */);
    await call("POST", path, { refund_account: { bank, account_number, holder } });
  }
}

async function drawPayments() {
  const page = await call("GET", "/me/payments/");
  const refund = (payment) => attempt(() => giveBack(payment));
  const rows = table(page.results.slice(0, 10), (payment) => [
    payment.target_title, payment.amount, payment.status,
    payment.status === "paid" ? button("refund", () => refund(payment)) : "",
  ]);
  element("payments").replaceChildren(make("h2", text("payments")), rows);
}

async function draw() {
  document.documentElement.lang = language;
  for (const labelled of document.querySelectorAll("[data-text]")) labelled.textContent = text(labelled.dataset.text);
  const isIn = Boolean(store.token);
  element("login").hidden = isIn;
  for (const id of ["items", "payments"]) element(id).hidden = !isIn;
  if (isIn) await Promise.all([drawOrder(), drawItems(), drawPayments()]);
}

element("language").onclick = () => {
  language = store.language = language === "ko" ? "en" : "ko";
  attempt(() => {});
};
element("login").onsubmit = (event) => {
  event.preventDefault();
  const body = Object.fromEntries(new FormData(element("login")));
  attempt(async () => { store.token = (await call("POST", "/login/", body)).access; });
};
attempt(returned);
