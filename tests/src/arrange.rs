//! Rows, written as the Django service would write them: without this service's own columns.

use serde_json::Value;
use tokio_postgres::types::ToSql;

use crate::{App, Kind, token};

/// The password of every [`User`] that the harness makes.
pub const PASSWORD: &str = "correct1";

/// Argon2id of [`PASSWORD`] at the lowest cost.
const PASSWORD_HASH: &str =
    "$argon2id$v=19$m=8,t=1,p=1$PNdqudET2Fjkm76hwJcLHQ$f7YNlF4lrAM7B5skd+y4Tv3vziTmHXHAXHhhm0m20ag";

/// An account in the test's database, and a token for it.
#[derive(Debug, Clone)]
pub struct User {
    /// Its id; the first user of a test has id 1.
    pub id: i64,
    /// `<username>@example.com`.
    pub email: String,
    /// Its name.
    pub username: String,
    /// A good access token, signed by the test.
    pub access: String,
}

impl User {
    /// The claims of a good token of this user.
    pub fn claims(&self, token_type: &str) -> Value {
        token::claims(self, token_type)
    }
}

/// An exam or a course to be put into the test's database. By default it is open, free of a limit, and costs 45,000.
#[derive(Debug, Clone, Copy)]
pub struct Item<'a> {
    /// Its title.
    pub title: &'a str,
    /// Its description.
    pub description: Option<&'a str>,
    /// What it costs.
    pub price: &'a str,
    /// When it opens; anything that PostgreSQL reads as a time.
    pub start_at: &'a str,
    /// When it closes.
    pub end_at: &'a str,
    /// When it was put into the catalogue.
    pub created_at: &'a str,
    /// How many may register.
    pub capacity: Option<i32>,
}

impl Default for Item<'_> {
    fn default() -> Self {
        Self {
            title: "정보처리기사 실기",
            description: None,
            price: "45000.00",
            start_at: "2020-01-01T00:00:00Z",
            end_at: "2099-12-31T23:59:59Z",
            created_at: "2026-01-02T03:04:05Z",
            capacity: None,
        }
    }
}

impl App {
    /// Changes a setting of the app's database: `set name = value` or `reset name`. Open sessions stay as they are.
    ///
    /// # Panics
    /// There is no such setting.
    pub async fn alter_database(&self, change: &str) {
        let name: String = self.one("select quote_ident(current_database())", &[]).await;
        self.run(&format!("alter database {name} {change}"), &[]).await;
    }

    /// Adds an active user. Its password is [`PASSWORD`].
    pub async fn user(&self, username: &str) -> User {
        let email = format!("{username}@example.com");
        let id = self
            .one(
                "insert into users (email, username, password) values ($1, $2, $3) returning id",
                &[&email, &username, &PASSWORD_HASH],
            )
            .await;
        self.known_user(id, username)
    }

    /// A user that [`App::user`] has added before, with a new token.
    pub fn known_user(&self, id: i64, username: &str) -> User {
        let mut user = User {
            id,
            email: format!("{username}@example.com"),
            username: username.to_owned(),
            access: String::new(),
        };
        user.access = token::sign(&user.claims("access"));
        user
    }

    /// Adds an exam or a course and returns its id; the first of its kind in a test has id 1.
    pub async fn add(&self, kind: Kind, item: Item<'_>) -> i64 {
        let Item {
            title,
            description,
            price,
            start_at,
            end_at,
            created_at,
            capacity,
        } = item;
        let id = self
            .one(
                &format!(
                    "insert into {} (title, description, price, start_at, end_at, created_at, updated_at)
                     values ($1, $2, $3::text::numeric, $4::text::timestamptz, $5::text::timestamptz,
                             $6::text::timestamptz, $6::text::timestamptz) returning id",
                    kind.items
                ),
                &[&title, &description, &price, &start_at, &end_at, &created_at],
            )
            .await;
        if capacity.is_some() {
            let limit = format!("update {} set capacity = $1 where id = $2", kind.items);
            self.run(&limit, &[&capacity, &id]).await;
        }
        id
    }

    /// Registers a user with a payment by card, both written straight into the tables, and returns the payment's id.
    /// `status` is the registration's; the payment's follows from it.
    pub async fn register(&self, kind: Kind, user: &User, item: i64, status: &str) -> i64 {
        let Kind {
            items,
            registrations,
            item_id,
            registered_at,
            payment_type,
            ..
        } = kind;
        let cancelled = status == "cancelled";
        self.run(
            &format!(
                "insert into {registrations} (user_id, {item_id}, status, {registered_at}, completed_at, cancelled_at)
                 values ($1, $2, $3::text, now(), case $3::text when 'completed' then now() end,
                         case $3::text when 'cancelled' then now() end)"
            ),
            &[&user.id, &item, &status],
        )
        .await;
        if !cancelled {
            let count = format!("update {items} set registration_count = registration_count + 1 where id = $1");
            self.run(&count, &[&item]).await;
        }
        self.one(
            &format!(
                "insert into payments (user_id, payment_type, content_type_id, object_id, amount, payment_method,
                                       status, paid_at, cancelled_at)
                 select $1, $2::text, c.id, i.id, i.price, 'card', case when $4 then 'cancelled' else 'paid' end, now(),
                        case when $4 then now() end
                 from {items} i, django_content_type c
                 where i.id = $3 and c.model = $2::text returning payments.id"
            ),
            &[&user.id, &payment_type, &item, &cancelled],
        )
        .await
    }

    /// Runs a statement on the test's database and returns how many rows it touched.
    pub async fn run(&self, sql: &str, parameters: &[&(dyn ToSql + Sync)]) -> u64 {
        self.database
            .execute(sql, parameters)
            .await
            .unwrap_or_else(|error| panic!("{sql}: {error:?}"))
    }

    /// The only column of the only row of a query on the test's database.
    pub async fn one<T: for<'a> tokio_postgres::types::FromSql<'a>>(
        &self,
        sql: &str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> T {
        self.database
            .query_one(sql, parameters)
            .await
            .unwrap_or_else(|error| panic!("{sql}: {error:?}"))
            .get(0)
    }

    /// A query's rows as JSON objects.
    pub async fn rows(&self, sql: &str) -> Value {
        let text: String = self
            .one(&format!("select coalesce(json_agg(r), '[]')::text from ({sql}) r"), &[])
            .await;
        serde_json::from_str(&text).expect("PostgreSQL writes JSON")
    }

    /// Everything that the test's database says about accounts, the catalogue and money, to compare before and after.
    pub async fn state(&self) -> Value {
        self.rows(
            "select (select json_agg(u order by id) from users u) as users,
                    (select json_agg(t order by id) from tests t) as tests,
                    (select json_agg(c order by id) from courses c) as courses,
                    (select json_agg(r order by id) from test_registrations r) as test_registrations,
                    (select json_agg(r order by id) from course_registrations r) as course_registrations,
                    (select json_agg(p order by id) from payments p) as payments,
                    (select json_agg(h order by id) from sugang.audit_log h) as audit_log,
                    (select json_agg(r order by id) from sugang.refunds r) as refunds,
                    (select json_agg(l order by source, source_id, step) from sugang.ledger l) as ledger",
        )
        .await
    }
}

/// Compares rows with the inline snapshot.
#[macro_export]
macro_rules! assert_rows {
    ($rows:expr, @$expected:literal $(,)?) => {{
        let rows: $crate::serde_json::Value = $rows;
        // A test that is written for a kind meets its snapshot once for each.
        $crate::insta::allow_duplicates! { $crate::insta::assert_json_snapshot!(rows, @$expected) }
    }};
}
