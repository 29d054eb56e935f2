//! The payment windows: each opens as that of its gateway, and sends the browser back with what that one appends.

use hyper::Response;

use crate::{
    html::{Form, buttons, escape, field, page, see, with_query},
    http::{Body, text},
    payment::Way,
    plan::Plan,
    request::{Asked, pairs},
    shared::Shared,
};

/// The buttons of a window: what they do, and what they say.
const BUTTONS: [(&str, &str); 5] = [
    ("pay", "결제 · Pay"),
    ("lose", "결제, 응답은 유실 · Pay, but lose the answer"),
    ("refuse", "결제, 승인은 거절 · Pay, but decline the confirmation"),
    ("decline", "결제 거절 · Decline the payment"),
    ("close", "창 닫기 · Close the window"),
];

/// A window that is open. Its form keeps all of it but the name of the order.
struct Window {
    gateway: &'static str,
    reference: String,
    order_name: String,
    /// In won, as the window was given it.
    amount: String,
    way: Way,
    /// Where the browser goes once the user has agreed.
    success: String,
    /// Where it goes if the payment fails.
    failure: String,
    /// Where it goes if the user closes the window.
    closing: String,
}

/// What comes of a window.
enum Outcome {
    /// The user has agreed to pay, and this key approves it.
    Agreed(String),
    /// It has failed, with Toss's code and a text for the user.
    Failed(&'static str, &'static str),
}

/// Answers a request for a window; `None` for any other.
pub(crate) fn answer(shared: &Shared, asked: &Asked) -> Option<Response<Body>> {
    let path: Vec<&str> = asked.path.trim_start_matches('/').split('/').collect();
    Some(match (asked.method.as_str(), path.as_slice()) {
        ("GET", ["window"]) => Window::of_toss(&asked.query).shown(),
        ("GET", ["portone", "window"]) => Window::of_portone(&asked.query).shown(),
        ("GET", ["kakaopay", tid, "pc" | "mobile" | "app"]) => match Window::of_kakaopay(shared, tid) {
            Some(window) => window.shown(),
            None => text(404, "text/plain", "this window is closed".to_owned()),
        },
        ("POST", ["window"]) => decide(shared, &pairs(&asked.body)),
        _ => return None,
    })
}

impl Window {
    /// Toss's, with the parameters of `requestPayment`.
    fn of_toss(query: &Form) -> Self {
        Self {
            gateway: "toss",
            reference: field(query, "orderId").to_owned(),
            order_name: field(query, "orderName").to_owned(),
            amount: field(query, "amount").to_owned(),
            way: way(query),
            success: field(query, "successUrl").to_owned(),
            failure: field(query, "failUrl").to_owned(),
            closing: field(query, "failUrl").to_owned(),
        }
    }

    /// PortOne's, with the parameters of `requestPayment`.
    fn of_portone(query: &Form) -> Self {
        let back = field(query, "redirectUrl");
        Self {
            gateway: "portone",
            reference: field(query, "paymentId").to_owned(),
            order_name: field(query, "orderName").to_owned(),
            amount: field(query, "totalAmount").to_owned(),
            way: way(query),
            success: back.to_owned(),
            failure: back.to_owned(),
            closing: back.to_owned(),
        }
    }

    /// KakaoPay's, which the service has opened with all that it needs.
    fn of_kakaopay(shared: &Shared, tid: &str) -> Option<Self> {
        shared.change(|books| {
            let (reference, prepared) = books.kakaopay.prepared(tid)?;
            Some(Self {
                gateway: "kakaopay",
                reference: reference.clone(),
                order_name: prepared.item.clone(),
                amount: prepared.amount.to_string(),
                way: Way::Card,
                success: prepared.approval_url.clone(),
                failure: prepared.fail_url.clone(),
                closing: prepared.cancel_url.clone(),
            })
        })
    }

    /// Reads the form of [`Window::shown`].
    fn of_form(form: &Form) -> Option<Self> {
        let names = ["toss", "portone", "kakaopay"];
        Some(Self {
            gateway: names.into_iter().find(|name| *name == field(form, "gateway"))?,
            reference: field(form, "reference").to_owned(),
            order_name: String::new(),
            amount: field(form, "amount").to_owned(),
            way: way(form),
            success: field(form, "success").to_owned(),
            failure: field(form, "failure").to_owned(),
            closing: field(form, "closing").to_owned(),
        })
    }

    fn shown(&self) -> Response<Body> {
        let (way, way_name) = match self.way {
            Way::VirtualAccount => ("virtual_account", "가상계좌 · Virtual account"),
            Way::Transfer => ("transfer", "계좌이체 · Bank transfer"),
            Way::Card => ("", "바로 결제 · At once"),
        };
        let hidden = [
            ("gateway", self.gateway),
            ("reference", &self.reference),
            ("amount", &self.amount),
            ("way", way),
            ("success", &self.success),
            ("failure", &self.failure),
            ("closing", &self.closing),
        ];
        let hidden = hidden.map(|(name, value)| {
            let value = escape(value);
            format!("<input type=hidden name={name} value=\"{value}\">")
        });
        let name = match self.gateway {
            "toss" => "토스페이먼츠 · Toss Payments",
            "portone" => "포트원 · PortOne",
            _ => "카카오페이 · KakaoPay",
        };
        page(&format!(
            "<h1>결제창 · Payment window</h1><p>{name}<br>{}<br><strong>{}</strong> 원 · won<br>{way_name}</p>\
             <form method=post action=/window>{}{}</form>",
            escape(&self.order_name),
            escape(&self.amount),
            hidden.concat(),
            buttons(&BUTTONS),
        ))
    }

    /// The address to which the gateway sends the browser, with what it appends.
    fn way_back(&self, outcome: &Outcome, back: &str) -> String {
        let reference = self.reference.as_str();
        let query = match (self.gateway, outcome) {
            ("toss", Outcome::Agreed(key)) => {
                vec![
                    ("paymentKey", key.as_str()),
                    ("orderId", reference),
                    ("amount", &self.amount),
                ]
            }
            ("toss", Outcome::Failed(code, message)) => {
                vec![("code", *code), ("message", message), ("orderId", reference)]
            }
            ("portone", Outcome::Agreed(key)) => vec![
                ("paymentId", reference),
                ("paymentToken", key.as_str()),
                ("transactionType", "PAYMENT"),
            ],
            ("portone", Outcome::Failed(code, message)) => vec![
                ("paymentId", reference),
                ("code", "FAILURE_TYPE_PG"),
                ("message", message),
                ("pgCode", code),
                ("transactionType", "PAYMENT"),
            ],
            (_, Outcome::Agreed(key)) => vec![("pg_token", key.as_str())],
            (_, Outcome::Failed(..)) => Vec::new(),
        };
        with_query(back, &query)
    }
}

fn way(form: &Form) -> Way {
    Way::named(field(form, "way"))
}

/// Does what a button of a window says, and leads back.
fn decide(shared: &Shared, form: &Form) -> Response<Body> {
    let Some(window) = Window::of_form(form) else {
        return text(400, "text/plain", "there is no such gateway".to_owned());
    };
    let Ok(amount) = window.amount.parse() else {
        return text(400, "text/plain", "the amount must be a number of won".to_owned());
    };
    let button = field(form, "button");
    let (outcome, back) = match button {
        "decline" => (
            Outcome::Failed("REJECT_CARD_COMPANY", "결제사에서 거절했습니다"),
            &window.failure,
        ),
        "close" => (
            Outcome::Failed("PAY_PROCESS_CANCELED", "사용자가 결제를 취소했습니다"),
            &window.closing,
        ),
        _ => {
            let (key, confirmation) = shared.change(|books| {
                let key = books.agree(window.gateway, &window.reference, amount, window.way);
                let gateway = books.gateway(window.gateway).map(|(gateway, _)| {
                    if button == "refuse" {
                        gateway.refuse();
                    }
                    gateway.confirmation(&window.reference)
                });
                (key.unwrap_or_default(), gateway.unwrap_or_default())
            });
            if button == "lose" {
                shared.plan(&confirmation, Plan::LoseAnswer);
            }
            (Outcome::Agreed(key), &window.success)
        }
    };
    see(&window.way_back(&outcome, back))
}
