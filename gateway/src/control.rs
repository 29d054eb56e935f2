//! How a stand-in that is a process of its own is told what to do: below `/stand-in/`, with JSON in and out.

use hyper::Response;
use serde_json::{Value, json};

use crate::{
    http::{Body, json},
    payment::Way,
    request::Asked,
    shared::Shared,
};

/// Answers a request that no gateway takes; `None` for one that a gateway takes.
pub(crate) fn answer(shared: &Shared, asked: &Asked) -> Option<Response<Body>> {
    let operation = asked.path.strip_prefix("/stand-in/")?;
    Some(match operate(shared, operation, &asked.json()) {
        Some(done) => json((200, done)),
        None => json((400, "there is no such operation, or the body does not fit".into())),
    })
}

fn operate(shared: &Shared, operation: &str, body: &Value) -> Option<Value> {
    let text = |name: &str| body[name].as_str();
    match operation {
        "agree" => {
            let way = Way::named(text("way").unwrap_or_default());
            let (gateway, reference, amount) = (text("gateway")?, text("reference")?, body["amount"].as_i64()?);
            let key = shared.change(|books| books.agree(gateway, reference, amount, way))?;
            Some(json!({ "key": key }))
        }
        "deposit" | "take-back" => {
            let (gateway, reference) = (text("gateway")?, text("reference")?);
            let arrives = operation == "deposit";
            let changed = shared.change(|books| books.deposit(gateway, reference, arrives));
            Some(json!({ "changed": changed }))
        }
        "serve" => {
            shared.set_service(text("service")?);
            Some(json!({}))
        }
        "resend" => {
            let reference = text("reference")?;
            shared.change(|books| books.desk.resend(reference));
            Some(json!({}))
        }
        "clock" => {
            let seconds = body["seconds"].as_i64()?;
            shared.change(|books| books.desk.advance(seconds));
            Some(json!({}))
        }
        "chaos" => {
            let percent = u8::try_from(body["percent"].as_u64()?).ok()?;
            shared.set_chaos(body["seed"].as_u64()?, percent, body["millis"].as_u64()?);
            Some(json!({}))
        }
        "entries" => {
            let gateway = text("gateway")?;
            Some(json!(shared.change(|books| books.entries(gateway))))
        }
        _ => None,
    }
}
