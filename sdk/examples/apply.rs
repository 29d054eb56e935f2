//! Signs up, applies for the most popular open exam, reads the payment and cancels it.
//!
//! ```sh
//! cargo run --release -p sugang-sdk --no-default-features --features client --example apply -- http://localhost:8000
//! ```

use anyhow::{Context, Result};
use futures::TryStreamExt;
use sugang_sdk::{
    Client, Filter,
    types::{Cancel, ErrorCode, PaymentMethod, Register, Settlement, Sort},
};

#[tokio::main]
async fn main() -> Result<()> {
    let address = std::env::args()
        .nth(1)
        .unwrap_or_else(|| "http://localhost:8000".to_owned());
    let client = Client::builder(address).language("en").build()?;

    let (email, password) = ("example@sugang.test", "example-password-1");
    match client.signup(email, "example", password).await {
        Ok(signed_up) => println!("{}", signed_up.message),
        Err(error) if error.code() == Some(&ErrorCode::Invalid) => println!("not signed up: {error}"),
        Err(error) => return Err(error.into()),
    }
    let session = client.login(email, password).await?;

    let exams = session.exams();
    let open = Filter {
        available: true,
        sort: Sort::Popular,
        ..Filter::default()
    };
    let exam = exams
        .list(&open)
        .stream()
        .try_filter(|exam| std::future::ready(!exam.is_registered && exam.price.is_positive()));
    let exam = std::pin::pin!(exam).try_next().await?.context("no exam is open")?;
    println!(
        "{}: {} won, {} registered",
        exam.title, exam.price, exam.registration_count
    );

    let registered = exams
        .apply(
            exam.id,
            Register {
                amount: exam.price,
                payment_method: PaymentMethod::Card,
            },
        )
        .await?;
    println!("{} (payment {})", registered.message, registered.payment_id);

    let payments = session.payments();
    let payment = payments.get(registered.payment_id).await?;
    println!(
        "{} won for {} at {}",
        payment.amount,
        payment.target_title.unwrap_or_default(),
        payment.paid_at
    );

    let cancel = Cancel {
        refund_reason: Some("only an example".to_owned()),
        ..Cancel::default()
    };
    // Where a gateway holds the money, it may not be known yet whether it has gone back.
    match payments.cancel(payment.id, cancel).await? {
        Settlement::Done(cancelled) => println!("{}", cancelled.message),
        Settlement::Pending(pending) => println!("{}", pending.message),
    }
    Ok(())
}
