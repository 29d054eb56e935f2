//! A hundred users, several sweeps, and gateways that lose, double, delay and garble what they like, their events included.
//! Afterwards every invariant holds, and the gateways' books equal ours, won for won.

use std::{collections::BTreeMap, time::Duration};

use fastrand::Rng;
use futures::future::{join, join_all};
use rstest::rstest;
use serde_json::json;
use sugang_tests::{
    App, COURSE, EXAM, Item, KAKAOPAY_CID, KAKAOPAY_SECRET, Kind, PORTONE_SECRET, PORTONE_WEBHOOK_SECRET,
    STAND_IN_STRIPE_SECRET, STAND_IN_STRIPE_WEBHOOK_SECRET, TOSS_SECRET, TossServer, User,
};
use tokio::time::sleep;
use tokio_postgres::error::SqlState;

use super::{
    place::{Place, SWEEP_SECRET},
    users::{Customer, FORGED_HINT, FORGED_PROOF, Habits},
};
use crate::{storm::audit, support::operator};

/// The two gateways of most storms.
pub const TOSS_AND_PORTONE: &str = "card=toss,kakaopay=portone,bank_transfer=toss";

/// Those that open the window themselves.
const STRIPE_AND_KAKAOPAY: &str = "card=stripe,kakaopay=kakaopay,bank_transfer=toss";

/// The settings of a service beside a stand-in.
pub fn settings(gateways: &'static str, gateway: &str) -> Vec<(&'static str, String)> {
    [
        ("payment_gateways", gateways),
        ("toss_url", gateway),
        ("toss_secret", TOSS_SECRET),
        ("portone_url", gateway),
        ("portone_secret", PORTONE_SECRET),
        ("portone_webhook_secret", PORTONE_WEBHOOK_SECRET),
        // All users have one address.
        ("unproven_events_per_address", "0"),
        ("kakaopay_url", gateway),
        ("kakaopay_secret", KAKAOPAY_SECRET),
        ("kakaopay_cid", KAKAOPAY_CID),
        ("kakaopay_return_url", "https://app.example/paid"),
        ("stripe_url", gateway),
        ("stripe_secret", STAND_IN_STRIPE_SECRET),
        ("stripe_webhook_secret", STAND_IN_STRIPE_WEBHOOK_SECRET),
        ("gateway_timeout_ms", "800"),
        ("sweep_secret", SWEEP_SECRET),
    ]
    .map(|(name, value)| (name, value.to_owned()))
    .into()
}

/// A secret with which PortOne signs nothing, in Base64.
const OTHER_SECRET: &str = "bm90IHRoZSBzZWNyZXQgb2YgdGhlIHZlY3Rvcg==";

/// Users, and the few seats that they want.
pub struct Crowd {
    users: Vec<User>,
    pub operator: User,
    items: Vec<(Kind, i64)>,
    pub habits: Habits,
}

impl Crowd {
    pub async fn gather(app: &App, users: usize) -> Self {
        let mut items = Vec::new();
        for (kind, capacity) in [
            (EXAM, None),
            (COURSE, None),
            (EXAM, Some(20)),
            (COURSE, Some(5)),
            (EXAM, Some(1)),
        ] {
            let item = Item {
                capacity,
                ..Item::default()
            };
            items.push((kind, app.add(kind, item).await));
        }
        let mut gathered = Vec::new();
        for n in 0..users {
            gathered.push(app.user(&format!("user{n}")).await);
        }
        Self {
            users: gathered,
            operator: operator(app).await,
            items,
            habits: Habits {
                tampering: 5,
                refunding: 8,
                forging: 20,
                secret: OTHER_SECRET,
            },
        }
    }

    /// All users do something at once, each this number of things.
    pub async fn rage(&self, place: &Place, rng: &mut Rng, steps: usize) {
        let shopping = self.users.iter().map(|user| {
            let customer = Customer {
                place,
                user,
                operator: &self.operator,
                items: &self.items,
                rng: rng.fork(),
                habits: self.habits,
            };
            customer.shop(steps)
        });
        join_all(shopping).await;
    }
}

/// A seed that is printed, so that a storm that has failed can be had again: `SUGANG_STORM_SEED`.
pub fn seed() -> u64 {
    let given = std::env::var("SUGANG_STORM_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok());
    let seed = given.unwrap_or_else(|| fastrand::u64(..));
    println!("SUGANG_STORM_SEED={seed}");
    seed
}

/// Executes statements in which `past` is a moment ago.
async fn execute(database: &tokio_postgres::Client, statements: &[&str]) {
    for statement in statements {
        let statement = statement.replace("past", "clock_timestamp() - interval '1 second'");
        // It locks orders as they come, so it may wait for a request that waits for it.
        while let Err(error) = database.execute(&statement, &[]).await {
            let is_deadlock = error.code() == Some(&SqlState::T_R_DEADLOCK_DETECTED);
            assert!(is_deadlock, "{statement}: {error:?}");
        }
    }
}

/// Lets time pass: leases are over, so that what another request is still looking after is looked up as well, and so are some
/// holds.
async fn let_time_pass(database: &tokio_postgres::Client) {
    let statements = [
        "update sugang.refunds set due_at = past where due_at is not null",
        "update sugang.payment_attempts set lease_until = past where lease_until is not null",
        "update sugang.gateway_events set lease_until = past where status = 'due'",
        "update sugang.orders set expires_at = past where is_live and id % 5 = 0 and expires_at > past",
    ];
    execute(database, &statements).await;
}

/// Lets a day pass, after which deposits are looked up again.
async fn let_a_day_pass(database: &tokio_postgres::Client) {
    let deposits = "update sugang.payment_attempts set reconcile_at = past where reconcile_at > past
                    and order_id in (select id from sugang.orders where payment_method = 'bank_transfer')";
    execute(database, &[deposits]).await;
}

/// Sweeps again and again, and lets time pass meanwhile.
async fn sweep_on(app: &App, place: &Place) {
    let database = app.connect().await;
    loop {
        let_time_pass(&database).await;
        let_a_day_pass(&database).await;
        place.sweep().await;
        sleep(Duration::from_millis(200)).await;
    }
}

/// How much is not known yet.
const DUE: &str = "select (select count(*) from sugang.orders where status = 'approving')
                        + (select count(*) from sugang.refunds where due_at is not null)
                        + (select count(*) from sugang.gateway_events where status = 'due')
                        + (select count(*) from sugang.payment_attempts
                           where reconcile_at < clock_timestamp())";

/// Sweeps until nothing is due.
async fn sweep_until_all_is_known(app: &App, place: &Place) {
    let_a_day_pass(app.database()).await;
    for _ in 0..60 {
        if app.one::<i64>(DUE, &[]).await == 0 {
            break;
        }
        let_time_pass(app.database()).await;
        join(place.sweep(), place.sweep()).await;
    }
}

/// A person pays back what no gateway can without an account: deposits that came for nothing.
async fn pay_back_deposits(app: &App, place: &Place, operator: &User) {
    let owed = app
        .rows("select distinct payment_id from sugang.refunds where status = 'requested' and code is not null")
        .await;
    for row in owed.as_array().expect("rows") {
        let account = json!({ "bank": "20", "account_number": "1002123456789", "holder": "김민수" });
        let body = json!({ "reason": "…", "refund_account": account });
        let payment = row["payment_id"].as_i64().expect("an id");
        let path = format!("/api/operator/payments/{payment}/refund/");
        place.post(operator, &path, &format!("owed-{payment}"), &body).await;
    }
}

/// Sweeps until nothing is due, at gateways at which nothing goes wrong any more, and returns what is wrong then.
pub async fn what_is_wrong(app: &App, place: &Place, operator: &User) -> Vec<String> {
    place.chaos(0, 0).await;
    // A user who has agreed to another amount is told no once the consent is over.
    place.tell("clock", &json!({ "seconds": 11 * 60 })).await;
    sweep_until_all_is_known(app, place).await;
    pay_back_deposits(app, place, operator).await;
    sweep_until_all_is_known(app, place).await;
    // The last events come again, days late, and no deposit is waited for any more.
    place.tell("clock", &json!({ "seconds": 8 * 24 * 60 * 60 })).await;
    place.tell("resend", &json!({ "reference": "" })).await;
    let passed = "update sugang.payment_attempts set due_at = clock_timestamp() where status = 'waiting'";
    app.run(passed, &[]).await;
    let waits = "select count(*) from sugang.orders where status = 'awaiting_deposit'";
    for _ in 0..20 {
        if app.one::<i64>(waits, &[]).await == 0 {
            break;
        }
        sweep_until_all_is_known(app, place).await;
        place.sweep().await;
    }
    // Events that come again are still on their way when no deposit is waited for any more.
    let mut calm = 0;
    for _ in 0..20 {
        sweep_until_all_is_known(app, place).await;
        sleep(Duration::from_millis(300)).await;
        calm = if app.one::<i64>(DUE, &[]).await == 0 {
            calm + 1
        } else {
            0
        };
        if calm == 4 {
            break;
        }
    }
    let mut wrong = place.differences(app).await;
    let forged = format!("select count(*) from sugang.gateway_events where starts_with(event_key, '{FORGED_PROOF}')");
    let proven = format!(
        "select count(*) from sugang.gateway_events where starts_with(event_key, '{FORGED_HINT}') and is_signed"
    );
    for (query, what) in [
        (DUE, "outcomes stay unknown"),
        (waits, "deposits are waited for after their deadline"),
        (
            "select count(*) from sugang.orders o join sugang.payment_attempts t on t.order_id = o.id
             where o.status = 'refund_due' and t.captured = o.price and o.payment_method <> 'bank_transfer'",
            "seats were given away while money was moving",
        ),
        (
            "select count(*) from sugang.refunds where status = 'external'",
            "refunds that were not asked for",
        ),
        (forged.as_str(), "events with a forged proof were taken"),
        (proven.as_str(), "events without a proof are said to have one"),
    ] {
        let count: i64 = app.one(query, &[]).await;
        if count > 0 {
            wrong.push(format!("{count} {what}"));
        }
    }
    let findings = audit(app).await.into_iter();
    wrong.extend(findings.map(|finding| format!("{}: {:?}", finding.check, finding.ids)));
    wrong
}

/// A service, a stand-in and a crowd.
pub struct Storm {
    pub app: App,
    pub gateway: TossServer,
    pub place: Place,
    pub crowd: Crowd,
}

impl Storm {
    pub async fn gather(users: usize) -> Self {
        Self::at(TOSS_AND_PORTONE, users).await
    }

    async fn at(gateways: &'static str, users: usize) -> Self {
        let gateway = TossServer::start().await.expect("there is a free port");
        let settings = settings(gateways, gateway.url()).into_iter();
        let builder = settings.fold(App::with("log_requests", false), |builder, (name, value)| {
            builder.with(name, value)
        });
        let app = builder.start().await;
        gateway.serve(&app.base);
        Self {
            place: Place::new(&app.base, gateway.url()),
            crowd: Crowd::gather(&app, users).await,
            app,
            gateway,
        }
    }

    /// Replaces a part of an SQL function, which must have it.
    pub async fn break_function(&self, function: &str, from: &str, to: &str) {
        let find = "select pg_get_functiondef(oid) from pg_proc where proname = $1";
        let definition: String = self.app.one(find, &[&function]).await;
        let broken = definition.replace(from, to);
        assert_ne!(broken, definition, "{function} has no {from}");
        self.app.run(&broken, &[]).await;
    }

    /// No event reaches the service. One that does may mend what a broken guard has done.
    pub fn lose_events(&self) {
        self.gateway.serve("http://127.0.0.1:9");
    }

    /// Lets it rage, and returns what is wrong afterwards.
    pub async fn blow(&self, seed: u64, steps: usize) -> Vec<String> {
        let mut rng = Rng::with_seed(seed);
        self.place.chaos(rng.u64(..), 40).await;
        let raging = self.crowd.rage(&self.place, &mut rng, steps);
        let sweeps = join(sweep_on(&self.app, &self.place), sweep_on(&self.app, &self.place));
        tokio::select! {
            () = raging => {}
            _ = sweeps => {}
        }
        what_is_wrong(&self.app, &self.place, &self.crowd.operator).await
    }
}

/// What has happened, by name: a storm in which too little happens shows nothing.
async fn what_has_happened(app: &App) -> BTreeMap<String, i64> {
    let told = app
        .rows(&format!(
            "select 'attempt ' || status as what, count(*) as n from sugang.payment_attempts group by 1
             union all
             select 'event ' || coalesce(outcome, status), count(*) from sugang.gateway_events group by 1
             union all
             select 'forged hint', count(*) from sugang.gateway_events where starts_with(event_key, '{FORGED_HINT}')
             union all
             select 'deposit', count(*) from sugang.payment_attempts where due_at is not null and captured is not null
             union all
             select 'refund ' || step, count(*) from sugang.ledger where source = 'refund' group by 1"
        ))
        .await;
    let rows = told.as_array().expect("rows").iter();
    rows.map(|row| {
        let what = row["what"].as_str().expect("a name").to_owned();
        (what, row["n"].as_i64().expect("a number"))
    })
    .collect()
}

#[rstest]
#[case::toss_and_portone(TOSS_AND_PORTONE, 5)]
// Their window shows the amount that the service has opened it with.
#[case::stripe_and_kakaopay(STRIPE_AND_KAKAOPAY, 0)]
#[tokio::test]
async fn the_books_of_all_sides_agree_after_a_storm(#[case] gateways: &'static str, #[case] tampering: u8) {
    let mut storm = Storm::at(gateways, 100).await;
    storm.crowd.habits.tampering = tampering;
    let wrong = storm.blow(seed(), 6).await;
    assert!(wrong.is_empty(), "{wrong:#?}");
    let happened = what_has_happened(&storm.app).await;
    println!("{happened:?}");
    for (what, least) in [
        ("attempt captured", 50),
        ("event captured", 10),
        ("forged hint", 1),
        ("deposit", 5),
        ("refund done", 3),
        ("refund reversed", 1),
    ] {
        let happened = happened.get(what).copied().unwrap_or_default();
        assert!(happened >= least, "it was calm: {what} {happened}");
    }
}
