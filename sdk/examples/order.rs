//! Holds a seat, has its user pay in the payment window, waits for the outcome, and gives the money back.
//!
//! ```sh
//! cargo xtask up --gateway
//! cargo run --release -p sugang-sdk --no-default-features --features client --example order -- http://localhost:8000
//! ```

use std::time::Duration;

use anyhow::{Context, Result};
use futures::TryStreamExt;
use sugang_sdk::{
    Client, Countdown, Filter,
    types::{ApproveOrder, Cancel, OrderStatus, PaymentMethod, Preorder, Settlement, Word},
};

/// The window of the stand-in, in place of Toss's script. It sends the browser on to this address, which nothing serves.
const WINDOW: &str = "http://127.0.0.1:8100/window";
const BACK: &str = "http://127.0.0.1:8100/example";

/// For the gateway's answer.
const PATIENCE: Duration = Duration::from_secs(120);

#[tokio::main]
async fn main() -> Result<()> {
    let address = std::env::args()
        .nth(1)
        .unwrap_or_else(|| "http://localhost:8000".to_owned());
    let client = Client::builder(address).language("en").build()?;
    let session = client.login("demo@example.com", "demo-pass-1").await?;

    let exams = session.exams();
    let open = Filter {
        available: true,
        ..Filter::default()
    };
    let open = exams.list(&open).stream();
    let exam = open.try_filter(|exam| std::future::ready(!exam.is_registered && exam.price.is_positive()));
    let exam = std::pin::pin!(exam).try_next().await?.context("no exam is open")?;
    let preorder = Preorder {
        amount: exam.price,
        payment_method: PaymentMethod::Card,
        return_url: None,
    };
    let order = exams.preorder(exam.id, preorder).await?;
    let countdown = Countdown::of(&order);
    let window = order.window.context("the gateway has no window")?;
    let won = window.amount.to_string();
    let won = won.trim_end_matches(".00");
    println!(
        "{}: order {}. Pay here within {} s, and paste the paymentKey of the address that the browser comes to:\n\n\
         {WINDOW}?orderId={}&amount={won}&orderName=example&successUrl={BACK}&failUrl={BACK}\n",
        order.title,
        order.id,
        countdown.left().as_secs(),
        window.reference,
    );
    let mut key = String::new();
    std::io::stdin().read_line(&mut key)?;
    println!("{} s were left", countdown.left().as_secs());

    let approve = ApproveOrder {
        payment_key: Some(key.trim().to_owned()),
        ..ApproveOrder::default()
    };
    let orders = session.orders();
    let order = orders.approve(order.id, approve).wait(PATIENCE).await?;
    match order.status {
        Word::Known(OrderStatus::Paid) => println!("paid"),
        Word::Known(OrderStatus::Held) => println!("declined: {}", order.declined_code.unwrap_or_default()),
        status => println!("{status}"),
    }
    if let Some(payment) = order.payment_id {
        match session
            .payments()
            .cancel(payment, Cancel::default())
            .wait(PATIENCE)
            .await?
        {
            Settlement::Done(cancelled) => println!("{}", cancelled.message),
            Settlement::Pending(pending) => println!("{}", pending.message),
        }
    }
    Ok(())
}
