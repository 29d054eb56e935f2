//! Everything at once: strangers with slow sockets, guesses, an operator's open transaction, an editor's loop and a frozen
//! Redis, while one user goes on as usual.
//!
//! `SUGANG_SIEGE_SECONDS` sets how long it lasts, and `SUGANG_SIEGE_P99_MS` the time within which 99 of a hundred of the
//! user's requests are answered. The defaults fit a machine that runs other tests meanwhile.

use std::{
    env,
    future::IntoFuture,
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    time::Duration,
};

use futures::future::{join, join_all, join3, join4};
use serde_json::json;
use sugang_tests::{Answer, App, COURSE, Call, EXAM, Item, Link, PASSWORD, RawClient, User};
use tokio::time::{Instant, sleep, timeout};

use crate::{
    storm::assert_audit,
    support::{Hold, cancel, paid, register},
};

const ATTACKER: [u8; 4] = [127, 0, 0, 2];
const GUESSER: [u8; 4] = [127, 0, 0, 3];

/// Attempts for one account within the window.
const ATTEMPTS: usize = 10;

fn setting(name: &str, default: u64) -> u64 {
    let value = env::var(name).ok();
    value.map_or(default, |value| value.parse().expect("a number"))
}

/// One siege: until when it lasts.
struct Siege<'a> {
    app: &'a App,
    end: Instant,
}

impl Siege<'_> {
    fn lasts(&self) -> bool {
        Instant::now() < self.end
    }

    /// Sends `bytes`, and then one byte a second: `drip`, or none where it is empty. Reads nothing, and comes back whenever
    /// it is thrown out.
    async fn slow(&self, bytes: &str, drip: &str) {
        while self.lasts() {
            let mut client = self.app.connection_from(ATTACKER).await;
            _ = timeout(Duration::from_secs(1), client.send(bytes)).await;
            let until = self.end.min(Instant::now() + Duration::from_secs(12));
            while Instant::now() < until {
                sleep(Duration::from_secs(1)).await;
                _ = timeout(Duration::from_secs(1), client.send(drip)).await;
            }
        }
    }

    async fn slow_clients(&self, user: &User) {
        let bearer = format!("Authorization: Bearer {}", user.access);
        let file = "GET /api/docs/swagger-ui-bundle.js HTTP/1.1\r\nHost: x\r\n\r\n".repeat(8);
        let list = format!("GET /tests/ HTTP/1.1\r\nHost: x\r\n{bearer}\r\n\r\n").repeat(8);
        let json = "Content-Type: application/json\r\nContent-Length: 4000";
        let body = format!("POST /tests/1/apply/ HTTP/1.1\r\nHost: x\r\n{bearer}\r\n{json}\r\n\r\n{{");
        let kinds = [
            (&*file, ""),
            (&*list, ""),
            (&*body, " "),
            ("GET /tests/ HTTP/1.1\r\nX: ", "x"),
        ];
        join_all(
            kinds
                .iter()
                .cycle()
                .take(120)
                .map(|(bytes, drip)| self.slow(bytes, drip)),
        )
        .await;
    }

    /// Guesses at the accounts of others, by a path that is spelled otherwise. Returns how many guesses were admitted.
    async fn guess(&self, account: &str, path: &str) -> usize {
        let (mut admitted, mut client) = (0, None::<RawClient>);
        while self.lasts() {
            let body = json!({"email": account, "password": "wrong-1"}).to_string();
            let head = format!("POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json");
            let mut connection = match client.take() {
                Some(connection) => connection,
                None => self.app.connection_from(GUESSER).await,
            };
            connection
                .send(format!("{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len()))
                .await;
            let Some(response) = connection.response().await else {
                continue;
            };
            assert!([401, 429, 503].contains(&response.status), "{response:?}");
            admitted += usize::from(response.status == 401);
            client = Some(connection);
            sleep(Duration::from_millis(20)).await;
        }
        admitted
    }

    /// Changes texts, prices and periods of items, one after the other.
    async fn edit(&self, items: &[i64]) {
        let database = self.app.connect().await;
        let edit = "update tests set title = title || '', end_at = end_at + interval '1 s' where id = $1";
        for id in items.iter().cycle() {
            if !self.lasts() {
                return;
            }
            // An edit that meets another one is sent again, as an operator would.
            database.execute(edit, &[id]).await.ok();
            sleep(Duration::from_millis(5)).await;
        }
    }

    /// Locks an exam for seconds at a time, and freezes Redis in between.
    async fn operate(&self, locked: i64) {
        while self.lasts() {
            let hold = Hold::item(self.app, locked).await;
            sleep(Duration::from_secs(2)).await;
            self.app.redis().set(Link::Hung);
            sleep(Duration::from_secs(2)).await;
            hold.release().await;
            self.app.redis().set(Link::Up);
            sleep(Duration::from_secs(1)).await;
        }
    }

    /// Asks for the exam that the operator has locked.
    async fn wait(&self, user: &User, locked: i64) {
        while self.lasts() {
            let answer = register(self.app, EXAM, locked, user).await;
            assert!(![500, 502].contains(&answer.status.as_u16()), "{answer:?}");
            sleep(Duration::from_millis(200)).await;
        }
    }

    /// Sends a request, and again while its lock is taken: a Redis that froze before the lock was released keeps it until it
    /// expires.
    async fn patiently<'b>(&self, call: impl Fn() -> Call<'b>, times: &mut Vec<u64>) -> Answer {
        loop {
            let begun = Instant::now();
            let answer = call().await;
            times.push(begun.elapsed().as_millis() as u64);
            if answer.code() != "busy" {
                return answer;
            }
            sleep(Duration::from_millis(200)).await;
        }
    }

    /// Goes on as usual, and returns the times that the requests took, in milliseconds, and what was paid.
    async fn go_on(&self, user: &User, items: &[i64]) -> (Vec<u64>, usize) {
        let (mut times, mut bought) = (Vec::new(), 0);
        let mut step = 0;
        while self.lasts() {
            let id = items[step % items.len()];
            step += 1;
            for path in ["/tests/", "/courses/?status=available", "/me/payments/", "/healthz"] {
                let begun = Instant::now();
                assert_eq!(self.app.get(path).by(user).await.status, 200, "{path}");
                times.push(begun.elapsed().as_millis() as u64);
            }
            let registered = self
                .patiently(|| register(self.app, COURSE, id, user), &mut times)
                .await;
            bought += 1;
            let payment = paid(&registered);
            let cancelled = self.patiently(|| cancel(self.app, payment, user), &mut times).await;
            assert_eq!(cancelled.status, 200, "{cancelled:?}");
            sleep(Duration::from_millis(10)).await;
        }
        (times, bought)
    }
}

#[tokio::test]
async fn a_user_goes_on_as_usual() {
    let (seconds, p99_ms) = (
        setting("SUGANG_SIEGE_SECONDS", 12),
        setting("SUGANG_SIEGE_P99_MS", 2_500),
    );
    let app = App::with("login_attempts_per_account", ATTEMPTS)
        .with("lock_timeout_ms", 1000)
        .with("argon2_memory_kib", 19_456)
        .with("argon2_iterations", 2)
        .proxied()
        .start()
        .await;
    let users = [
        app.user("minsu").await,
        app.user("jisu").await,
        app.user("victim").await,
    ];
    let [minsu, jisu, victim] = &users;
    let description = "수험 안내 ".repeat(100);
    let (mut exams, mut courses) = (Vec::new(), Vec::new());
    for _ in 0..20 {
        let description = Some(description.as_str());
        exams.push(
            app.add(
                EXAM,
                Item {
                    description,
                    ..Item::default()
                },
            )
            .await,
        );
        courses.push(app.add(COURSE, Item::default()).await);
    }
    let siege = Siege {
        app: &app,
        end: Instant::now() + Duration::from_secs(seconds),
    };
    let hashed = AtomicUsize::new(0);
    // Accounts by the hundred: each guess is hashed.
    let flood = join_all((0..8).map(|n| {
        let (siege, hashed) = (&siege, &hashed);
        async move {
            let mut m = 0;
            while siege.lasts() {
                let account = json!({"email": format!("user{n}-{m}@example.com"), "password": "wrong-1"});
                let call = siege.app.post("/lo%67in").json(&account).into_future();
                hashed.fetch_add(usize::from(call.await.status == 401), Relaxed);
                m += 1;
            }
        }
    }));
    let guesses =
        join_all(["/login/", "/lo%67in", "/api/auth/login", "/%6cogin/"].map(|path| siege.guess(&victim.email, path)));
    let operators = join3(
        siege.operate(exams[0]),
        siege.wait(jisu, exams[0]),
        siege.edit(&exams[1..]),
    );
    let strangers = join(siege.slow_clients(jisu), flood);
    let honest = siege.go_on(minsu, &courses);
    let (_, guesses, _, (mut times, bought)) = join4(strangers, guesses, operators, honest).await;

    times.sort_unstable();
    let p99 = times[times.len() * 99 / 100];
    let requests = times.len();
    println!(
        "{seconds} s: {requests} requests of a user, p50 {} ms, p99 {p99} ms, at most {} ms; {} guesses admitted, {} hashed for others",
        times[requests / 2],
        times[requests - 1],
        guesses.iter().sum::<usize>(),
        hashed.load(Relaxed),
    );
    // Of a hundred requests, one or two meet a moment in which the whole machine stands still.
    let late = times.iter().filter(|time| **time > p99_ms).count();
    assert!(
        late <= (requests / 100).max(3),
        "{late} of {requests} requests took longer than {p99_ms} ms"
    );
    assert!(hashed.load(Relaxed) > 0);
    // Redis was away now and then, so PostgreSQL has counted as well: twice the limit at most.
    assert!(guesses.iter().sum::<usize>() <= 2 * ATTEMPTS, "{guesses:?}");
    // Nothing is lost: everything that was answered is there, and the books agree.
    let theirs = "select count(*) from payments where user_id = $1 and status = 'cancelled'";
    assert_eq!(app.one::<i64>(theirs, &[&minsu.id]).await, bought as i64);
    assert_audit(&app).await;
    let login = json!({"email": jisu.email, "password": PASSWORD});
    assert_eq!(app.post("/login/").json(&login).await.status, 200);
}
