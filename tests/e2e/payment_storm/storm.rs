//! A hundred users, several sweeps, and gateways that lose, double, delay and garble what they like. Afterwards every
//! invariant holds, and the gateways' books equal ours, won for won.

use std::time::Duration;

use fastrand::Rng;
use futures::future::{join, join_all};
use rstest::rstest;
use serde_json::json;
use sugang_tests::{
    App, COURSE, EXAM, Item, KAKAOPAY_CID, KAKAOPAY_SECRET, Kind, PORTONE_SECRET, STAND_IN_STRIPE_SECRET, TOSS_SECRET,
    TossServer, User,
};
use tokio::time::sleep;

use super::{
    place::{Place, SWEEP_SECRET},
    users::Customer,
};
use crate::{storm::audit, support::operator};

/// The two gateways of most storms, each for a payment method.
pub const TOSS_AND_PORTONE: &str = "card=toss,kakaopay=portone";

/// Those that open the window themselves.
const STRIPE_AND_KAKAOPAY: &str = "card=stripe,kakaopay=kakaopay";

/// The settings of a service beside a stand-in.
pub fn settings(gateways: &'static str, gateway: &str) -> Vec<(&'static str, String)> {
    [
        ("payment_gateways", gateways),
        ("toss_url", gateway),
        ("toss_secret", TOSS_SECRET),
        ("portone_url", gateway),
        ("portone_secret", PORTONE_SECRET),
        ("kakaopay_url", gateway),
        ("kakaopay_secret", KAKAOPAY_SECRET),
        ("kakaopay_cid", KAKAOPAY_CID),
        ("kakaopay_return_url", "https://app.example/paid"),
        ("stripe_url", gateway),
        ("stripe_secret", STAND_IN_STRIPE_SECRET),
        ("gateway_timeout_ms", "800"),
        ("sweep_secret", SWEEP_SECRET),
    ]
    .map(|(name, value)| (name, value.to_owned()))
    .into()
}

/// Users, and the few seats that they want.
pub struct Crowd {
    users: Vec<User>,
    operator: User,
    items: Vec<(Kind, i64)>,
    pub tampering: u8,
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
            tampering: 5,
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
                tampering: self.tampering,
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

/// Lets time pass: leases are over, so that what another request is still looking after is looked up as well, and so are some
/// holds.
async fn let_time_pass(database: &tokio_postgres::Client) {
    let past = "clock_timestamp() - interval '1 second'";
    for statement in [
        format!("update sugang.refunds set due_at = {past} where due_at is not null"),
        format!("update sugang.payment_attempts set lease_until = {past} where lease_until is not null"),
        format!("update sugang.orders set expires_at = {past} where is_live and id % 5 = 0 and expires_at > {past}"),
    ] {
        let passed = database.execute(&statement, &[]).await;
        passed.unwrap_or_else(|error| panic!("{statement}: {error:?}"));
    }
}

/// Sweeps again and again, and lets time pass meanwhile.
async fn sweep_on(app: &App, place: &Place) {
    let database = app.connect().await;
    loop {
        let_time_pass(&database).await;
        place.sweep().await;
        sleep(Duration::from_millis(200)).await;
    }
}

/// Sweeps until nothing is due, at gateways at which nothing goes wrong any more, and returns what is wrong then.
pub async fn what_is_wrong(app: &App, place: &Place) -> Vec<String> {
    place.chaos(0, 0).await;
    // A user who has agreed to another amount is told no once the consent is over.
    place.tell("clock", &json!({ "seconds": 11 * 60 })).await;
    let due = "select (select count(*) from sugang.orders where status = 'approving')
                      + (select count(*) from sugang.refunds where due_at is not null)";
    for _ in 0..40 {
        if app.one::<i64>(due, &[]).await == 0 {
            break;
        }
        let_time_pass(app.database()).await;
        join(place.sweep(), place.sweep()).await;
    }
    let mut wrong = place.differences(app).await;
    if app.one::<i64>(due, &[]).await > 0 {
        wrong.push("something stays unknown".to_owned());
    }
    let lost: i64 = app
        .one(
            "select count(*) from sugang.orders o join sugang.payment_attempts t on t.order_id = o.id
             where o.status = 'refund_due' and t.captured = o.price",
            &[],
        )
        .await;
    if lost > 0 {
        wrong.push(format!("{lost} seats were given away while money was moving"));
    }
    let unasked: i64 = app
        .one("select count(*) from sugang.refunds where status = 'external'", &[])
        .await;
    if unasked > 0 {
        wrong.push(format!("{unasked} refunds that were not asked for"));
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
        what_is_wrong(&self.app, &self.place).await
    }
}

#[rstest]
#[case::toss_and_portone(TOSS_AND_PORTONE, 5)]
// Their window shows the amount that the service has opened it with.
#[case::stripe_and_kakaopay(STRIPE_AND_KAKAOPAY, 0)]
#[tokio::test]
async fn the_books_of_all_sides_agree_after_a_storm(#[case] gateways: &'static str, #[case] tampering: u8) {
    let mut storm = Storm::at(gateways, 100).await;
    storm.crowd.tampering = tampering;
    let wrong = storm.blow(seed(), 6).await;
    assert!(wrong.is_empty(), "{wrong:#?}");
    let statuses = storm
        .app
        .rows("select status, count(*) as n from sugang.payment_attempts group by 1 order by 1")
        .await;
    println!("attempts: {statuses}");
    let captured: i64 = storm
        .app
        .one(
            "select count(*) from sugang.payment_attempts where status = 'captured'",
            &[],
        )
        .await;
    assert!(captured > 50, "it was calm: {statuses}");
}
