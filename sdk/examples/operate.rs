//! What an operator does in a day: creates a course, sees who has enrolled, gives one payment back, and exports the list.
//!
//! The account must be an operator's: `cargo xtask operator add demo@example.com`.
//!
//! ```sh
//! cargo run --release -p sugang-sdk --no-default-features --features client --example operate -- \
//!     http://localhost:8000 demo@example.com demo-pass-1
//! ```

use anyhow::{Context, Result};
use futures::TryStreamExt;
use sugang_sdk::{
    Client, RegistrationFilter,
    types::{Money, NewItem, PaymentMethod, RefundPayment, Register},
};

#[tokio::main]
async fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let mut argument = |default: &str| arguments.next().unwrap_or_else(|| default.to_owned());
    let client = Client::builder(argument("http://localhost:8000"))
        .language("en")
        .build()?;
    let session = client
        .login(&argument("demo@example.com"), &argument("demo-pass-1"))
        .await?;
    let operator = session.operator();
    let courses = operator.courses();

    let course = courses
        .create(NewItem {
            title: "Rust for operators".to_owned(),
            description: None,
            price: Money::won(30_000),
            capacity: Some(20),
            start_at: "2026-01-01T00:00:00+09:00".parse()?,
            end_at: "2099-12-31T23:59:59+09:00".parse()?,
            hidden: false,
        })
        .await?;
    println!("created course {}: {}", course.id, course.title);

    // A user would do this. Here it is the operator, so that there is something to see.
    let card = Register {
        amount: course.price,
        payment_method: PaymentMethod::Card,
    };
    session.courses().enroll(course.id, card).await?;

    let all = RegistrationFilter::default();
    let mut registrations = std::pin::pin!(courses.registrations(course.id, &all).stream());
    let mut payment = None;
    while let Some(registration) = registrations.try_next().await? {
        println!("{} is {}", registration.email, registration.status);
        payment = payment.or(registration.payment_id);
    }

    let reason = RefundPayment {
        amount: None,
        reason: "only an example".to_owned(),
        keep_registration: false,
        refund_account: None,
    };
    let payment = payment.context("no payment was made")?;
    let refunded = operator.payments().refund(payment, reason).await?.done()?;
    println!("gave {} won back", refunded.amount);

    let file = courses.export_registrations(course.id, &all).await?;
    println!("{}", String::from_utf8_lossy(&file));
    Ok(())
}
