//! The pages for developers: a shop, and the books.

use hyper::Response;

use crate::{
    html::{Form, buttons, escape, field, page, see},
    http::{Body, text},
    payment::State,
    request::{Asked, pairs},
    shared::Shared,
};

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
        "GET /books" => books(shared),
        "POST /books" => change(shared, &pairs(&asked.body)),
        _ => return None,
    })
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
