//! The demo account, exams and courses.

use std::{net::SocketAddr, pin::pin};

use anyhow::Context;
use futures::TryStreamExt;
use sugang_bench::postgres::connect;
use sugang_sdk::{
    Client, Error, Filter,
    types::{ErrorCode, Exam},
};

use crate::progress::Step;

const EMAIL: &str = "demo@example.com";
const USERNAME: &str = "demo";
const PASSWORD: &str = "demo-pass-1";

/// Adds the demo data where they are missing, and prints how to use them.
pub async fn add(address: SocketAddr, client: &Client, database_url: &str) -> anyhow::Result<()> {
    let step = Step::quiet("Demo data");
    let database = connect(database_url).await?;
    database.batch_execute(include_str!("demo.sql")).await?;
    add_account(client).await?;
    step.done("");
    println!("\nDemo account: {EMAIL}, password {PASSWORD}");
    if let Some(exam) = open_exam(client).await? {
        println!("{}", curl(address, exam.id.0, &exam.price.to_string()));
    }
    Ok(())
}

/// Signs up through the API, so that its rules make the account.
async fn add_account(client: &Client) -> anyhow::Result<()> {
    match client.signup(EMAIL, USERNAME, PASSWORD).await {
        Ok(_) => Ok(()),
        // The account exists already.
        Err(Error::Api(error)) if error.body.code == ErrorCode::Invalid => Ok(()),
        Err(error) => Err(error).context("the demo account cannot sign up"),
    }
}

/// The first open exam that the demo account has not applied for.
async fn open_exam(client: &Client) -> anyhow::Result<Option<Exam>> {
    let session = client
        .login(EMAIL, PASSWORD)
        .await
        .context("the demo account cannot log in")?;
    let available = Filter {
        available: true,
        ..Filter::default()
    };
    let exams = session.exams();
    let mut exams = pin!(exams.list(&available).stream());
    while let Some(exam) = exams.try_next().await? {
        if !exam.is_registered {
            return Ok(Some(exam));
        }
    }
    Ok(None)
}

fn curl(address: SocketAddr, exam: i64, price: &str) -> String {
    format!(
        r#"Apply for an exam:

curl -i http://{address}/tests/{exam}/apply/ -H 'content-type: application/json' \
  -H "authorization: Bearer $(curl -s http://{address}/login/ -H 'content-type: application/json' \
    -d '{{"email":"{EMAIL}","password":"{PASSWORD}"}}' | sed 's/.*"access":"\([^"]*\)".*/\1/')" \
  -d '{{"amount":"{price}","payment_method":"card"}}'"#
    )
}
