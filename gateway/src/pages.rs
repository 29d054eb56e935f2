//! The pages for developers: a shop, the payment window, and the books.

use std::collections::BTreeMap;

use hyper::{Response, header::LOCATION};

use crate::{
    http::{Body, text},
    payment::{State, Way},
    plan::Plan,
    request::{Asked, pairs},
    shared::Shared,
};

/// What the payment window is given, and gives back with its form.
const FIELDS: [&str; 6] = ["orderId", "amount", "orderName", "successUrl", "failUrl", "way"];

/// The buttons of the payment window: what they do, and what they say.
const WINDOW: [(&str, &str); 5] = [
    ("pay", "결제 · Pay"),
    ("lose", "결제, 응답은 유실 · Pay, but lose the answer"),
    ("refuse", "결제, 승인은 거절 · Pay, but decline the confirmation"),
    ("decline", "카드 거절 · Decline the card"),
    ("close", "창 닫기 · Close the window"),
];

/// The buttons beside a payment in the books.
const BOOKS: [(&str, &str); 4] = [
    ("deposit", "입금 · Deposit now"),
    ("take-back", "입금 취소 · Take the deposit back"),
    ("resend", "이벤트 재전송 · Send the events again"),
    ("refund", "결제사에서 환불 · Refund in the gateway's console"),
];

/// Answers a request for a page; `None` for any other.
pub(crate) fn answer(shared: &Shared, asked: &Asked) -> Option<Response<Body>> {
    Some(match asked.line().as_str() {
        "GET /" => {
            let page =
                include_str!("../web/shop.html").replace("{api}", &escape(&shared.service().unwrap_or_default()));
            text(200, "text/html; charset=utf-8", page)
        }
        "GET /shop.js" => text(200, "text/javascript", include_str!("../web/shop.js").to_owned()),
        "GET /pages.css" => text(200, "text/css", include_str!("../web/pages.css").to_owned()),
        "GET /window" => window(&asked.query),
        "POST /window" => decide(shared, &pairs(&asked.body)),
        "GET /books" => books(shared),
        "POST /books" => change(shared, &pairs(&asked.body)),
        _ => return None,
    })
}

type Form = BTreeMap<String, String>;

fn field<'a>(form: &'a Form, name: &str) -> &'a str {
    form.get(name).map_or("", String::as_str)
}

/// The window, with all that it was given in its form.
fn window(query: &Form) -> Response<Body> {
    let hidden = FIELDS.map(|name| {
        let value = escape(field(query, name));
        format!("<input type=hidden name={name} value=\"{value}\">")
    });
    let way = match field(query, "way") {
        "virtual_account" => "가상계좌 · Virtual account",
        _ => "카드 · Card",
    };
    let content = format!(
        "<h1>결제창 · Payment window</h1><p>{}<br><strong>{}</strong> 원 · won<br>{way}</p>\
         <form method=post action=/window>{}{}</form>",
        escape(field(query, "orderName")),
        escape(field(query, "amount")),
        hidden.concat(),
        buttons(&WINDOW),
    );
    page(&content)
}

/// Does what a button of the window says, and leads back.
fn decide(shared: &Shared, form: &Form) -> Response<Body> {
    let way = match field(form, "way") {
        "virtual_account" => Way::VirtualAccount,
        _ => Way::Card,
    };
    let (reference, Ok(amount)) = (field(form, "orderId"), field(form, "amount").parse()) else {
        return text(400, "text/plain", "amount must be a number of won".to_owned());
    };
    let code = match field(form, "button") {
        "decline" => Some(("REJECT_CARD_COMPANY", "카드사에서 거절했습니다")),
        "close" => Some(("PAY_PROCESS_CANCELED", "사용자가 결제를 취소했습니다")),
        "lose" => {
            shared.plan("POST /v1/payments/confirm", Plan::LoseAnswer);
            None
        }
        "refuse" => {
            shared.change(|books| books.toss.refusal = Some((403, "REJECT_CARD_PAYMENT".to_owned())));
            None
        }
        _ => None,
    };
    let (back, query) = match code {
        Some((code, message)) => {
            let query = vec![("code", code), ("message", message), ("orderId", reference)];
            (field(form, "failUrl"), encode(&query))
        }
        None => {
            let key = shared.change(|books| books.agree("toss", reference, amount, way));
            let (key, amount) = (key.unwrap_or_default(), amount.to_string());
            let query = [
                ("paymentKey", key.as_str()),
                ("orderId", reference),
                ("amount", &amount),
            ];
            (field(form, "successUrl"), encode(&query))
        }
    };
    let joint = if back.contains('?') { '&' } else { '?' };
    see(&format!("{back}{joint}{query}"))
}

/// The payments of all gateways.
fn books(shared: &Shared) -> Response<Body> {
    let rows: String = shared.change(|books| {
        let (gateways, _) = books.gateways();
        let mut rows = String::new();
        for gateway in gateways {
            let name = gateway.name();
            for payment in gateway.payments().all() {
                let state = match payment.state {
                    State::Agreed => "확인 대기 · agreed",
                    State::Waiting => "입금 대기 · waiting for the deposit",
                    State::Taken => "결제됨 · taken",
                    State::Cancelled => "취소 · cancelled",
                    State::Expired => "만료 · expired",
                };
                rows += &format!(
                    "<tr><td>{name}<td>{0}<td>{1}<td>{2}<td>{state}<td><form method=post action=/books>\
                     <input type=hidden name=gateway value={name}><input type=hidden name=reference value=\"{0}\">\
                     {3}</form>",
                    escape(&payment.reference),
                    payment.taken(),
                    payment.given(),
                    buttons(&BOOKS),
                );
            }
        }
        rows
    });
    page(&format!(
        "<h1>결제사의 장부 · The gateway's books</h1><p><a href=/>연습 · Back</a></p>\
         <table><tr><th><th>orderId<th>받음 · taken<th>돌려줌 · given<th><th>{rows}</table>"
    ))
}

/// Does what a button of the books says.
fn change(shared: &Shared, form: &Form) -> Response<Body> {
    let (gateway, reference) = (field(form, "gateway"), field(form, "reference"));
    shared.change(|books| match field(form, "button") {
        "deposit" => drop(books.deposit(gateway, reference, true)),
        "take-back" => drop(books.deposit(gateway, reference, false)),
        "resend" => books.desk.resend(reference),
        "refund" => books.give_back(gateway, reference, None),
        _ => {}
    });
    see("/books")
}

fn buttons(buttons: &[(&str, &str)]) -> String {
    let button = |(name, label): &(&str, &str)| format!("<button name=button value={name}>{label}</button>");
    buttons.iter().map(button).collect()
}

fn page(content: &str) -> Response<Body> {
    let page = format!(
        "<!doctype html><html lang=ko><meta charset=utf-8><title>stand-in</title>\
         <link rel=stylesheet href=/pages.css><body>{content}"
    );
    text(200, "text/html; charset=utf-8", page)
}

/// Leads the browser on. Only addresses of the web are followed.
fn see(url: &str) -> Response<Body> {
    let is_safe = url.starts_with('/') || url.starts_with("http://") || url.starts_with("https://");
    let (true, Ok(location)) = (is_safe, url.parse()) else {
        return text(400, "text/plain", "successUrl and failUrl must be addresses".to_owned());
    };
    let mut response = text(303, "text/plain", String::new());
    response.headers_mut().insert(LOCATION, location);
    response
}

fn encode(pairs: &[(&str, &str)]) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.extend_pairs(pairs).finish()
}

fn escape(text: &str) -> String {
    let text = text.replace('&', "&amp;").replace('<', "&lt;");
    text.replace('>', "&gt;").replace('"', "&quot;")
}
