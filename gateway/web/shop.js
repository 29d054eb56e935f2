// A small shop for developers: logs in, holds a seat, opens the stand-in's payment window, approves, and gives money back.
// It calls the API as every client does.

const api = document.body.dataset.api;
const texts = {
  ko: {
    title: "결제 연습", about: "가짜 결제사입니다. 실제 돈은 움직이지 않습니다.", books: "결제사의 장부",
    password: "비밀번호", login: "로그인", hold: "자리 잡기", pay: "카드로 결제", payIn: "가상계좌로 결제",
    cancel: "취소", refund: "환불", items: "시험과 강의", payments: "내 결제", order: "주문", again: "다시 보기",
    empty: "없음", seats: "초 남음",
  },
  en: {
    title: "Try a payment", about: "A stand-in for a payment gateway. No real money moves.", books: "The gateway's books",
    password: "Password", login: "Log in", hold: "Hold a seat", pay: "Pay by card", payIn: "Pay in to an account",
    cancel: "Cancel", refund: "Refund", items: "Exams and courses", payments: "My payments", order: "Order",
    again: "Look again", empty: "None", seats: "seconds left",
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
  if (!answer.ok) throw new Error(`${answer.status} ${json.error ?? json.detail ?? JSON.stringify(json)}`);
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

/** Opens the window of the stand-in, which comes back to this page. */
function openWindow(order, way) {
  const back = new URL("/", location.href).href;
  const query = new URLSearchParams({
    orderId: order.reference, amount: Math.round(Number(order.amount)), orderName: order.title,
    successUrl: back, failUrl: back, way,
  });
  location.href = `/window?${query}`;
}

/** What the payment window has brought back. */
async function returned() {
  const query = new URLSearchParams(location.search);
  history.replaceState(null, "", "/");
  if (query.get("code")) throw new Error(`${query.get("code")} ${query.get("message") ?? ""}`);
  if (query.get("paymentKey") && store.order) {
    await call("POST", `/orders/${store.order}/approve/`, { payment_key: query.get("paymentKey") });
  }
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
    rows.push(button("pay", () => openWindow(order, "card")), button("payIn", () => openWindow(order, "virtual_account")));
  }
  if (["held", "awaiting_deposit"].includes(order.status)) {
    rows.push(button("cancel", () => attempt(() => call("POST", `/orders/${order.id}/cancel/`))));
  }
  rows.push(button("again", () => attempt(() => {})));
  section.replaceChildren(...rows);
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

async function drawPayments() {
  const page = await call("GET", "/me/payments/");
  const refund = (payment) => attempt(() => call("POST", `/payments/${payment.id}/cancel/`));
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
