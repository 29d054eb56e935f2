//! One request, as the handlers see it.

use std::cell::{Cell, RefCell};

use http::Method;
use sha2::{Digest, Sha256};
use spin_sdk::{pg::ParameterValue, wasip3::http::types};
use sugang_protocol::{Language, Text, request_id};
use sugang_sdk::types::Page;

use crate::{
    body::Body,
    db::{Answer, Repeat},
    errors::{Failure, FieldProblems, Internal, USER_INACTIVE, USER_NOT_FOUND},
    fields::FieldProblem,
    instance::Instance,
    query::Query,
    response::Response,
    routes::Route,
};

const IDEMPOTENCY_KEY: &str = "Idempotency-Key";
/// Characters that a key may have, as the contract of the header says.
const IDEMPOTENCY_KEY_CHARACTERS: usize = 255;

/// What stands before the body.
pub struct Head {
    /// HTTP method.
    pub method: Method,
    /// Path, as it was sent.
    pub path: String,
    /// What stands after the question mark.
    pub query: String,
    /// Scheme and authority, where the host knows them.
    pub origin: Option<String>,
    /// Headers in their order.
    pub headers: Vec<(String, Vec<u8>)>,
}

impl Head {
    /// The first header of that name; none where it is not plain text.
    pub fn header(&self, name: &str) -> Option<&str> {
        let (_, value) = self
            .headers
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name))?;
        std::str::from_utf8(value).ok()
    }

    /// The language that the client prefers.
    pub fn language(&self) -> Language {
        Language::preferred(self.header("accept-language").unwrap_or_default())
    }

    /// The id that the client gave the request if it is safe to log, else a new one.
    pub fn request_id(&self) -> String {
        request_id::resolve(self.header(request_id::HEADER)).into_owned()
    }
}

/// One request that found its route.
pub struct Call<'a> {
    /// The instance that serves it.
    pub instance: &'a Instance,
    /// What stands before the body.
    pub head: &'a Head,
    /// What is asked for.
    pub route: &'static Route,
    /// The id in the path; 0 where it has none.
    pub id: i64,
    /// The id of the request.
    pub request_id: &'a str,
    /// The language of the texts in the answer.
    pub language: Language,
    /// Whether the answer is an earlier one's; noted by [`Self::ask`].
    pub replayed: Cell<bool>,
    /// The body, until it is read.
    pub incoming: RefCell<Option<types::Request>>,
}

/// An idempotency key, and what it was sent with.
pub struct Idempotency {
    /// The key; none where the client sent none.
    pub key: Option<String>,
    /// SHA-256 of method, path and body: the same for what is the same request.
    pub fingerprint: Option<String>,
}

impl Idempotency {
    /// With a key, a statement takes effect once, however often it is sent.
    pub fn repeat(&self) -> Repeat {
        if self.key.is_some() {
            Repeat::Safe
        } else {
            Repeat::Never
        }
    }
}

impl Call<'_> {
    /// A text in the client's language.
    pub fn text(&self, text: Text) -> String {
        text.in_language(self.language).to_owned()
    }

    /// Reads the body.
    ///
    /// # Errors
    /// See [`Body::read`].
    pub async fn body(&self) -> Result<Body, Failure> {
        let Some(incoming) = self.incoming.take() else {
            return Err(Failure::Internal(Internal::new("the body was read before")));
        };
        let (length, media_type) = (self.head.header("content-length"), self.head.header("content-type"));
        Body::read(incoming, self.instance.config.max_body_bytes, length, media_type).await
    }

    /// Sends the request's statement. Whether the caller still exists and is active is part of it.
    ///
    /// # Errors
    /// 401 when the token's user is gone or inactive; see [`crate::db::Database::ask`].
    pub async fn ask(
        &self,
        statement: &'static str,
        parameters: Vec<ParameterValue>,
        repeat: Repeat,
    ) -> Result<Answer, Failure> {
        let answer = self.instance.database.ask(statement, parameters, repeat).await?;
        self.replayed.set(answer.replayed);
        match answer.outcome.as_str() {
            "user_not_found" => Err((&USER_NOT_FOUND).into()),
            "user_inactive" => Err((&USER_INACTIVE).into()),
            _ => Ok(answer),
        }
    }

    /// The idempotency key, if there is one.
    ///
    /// # Errors
    /// 400 when it is not 1 to 255 visible ASCII characters.
    pub fn idempotency(&self, body: &Body) -> Result<Idempotency, Failure> {
        let sent = self
            .head
            .headers
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(IDEMPOTENCY_KEY));
        let Some((_, key)) = sent else {
            return Ok(Idempotency {
                key: None,
                fingerprint: None,
            });
        };
        let key = std::str::from_utf8(key).ok().filter(|key| {
            (1..=IDEMPOTENCY_KEY_CHARACTERS).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic())
        });
        let Some(key) = key else {
            return Err(Failure::Fields(FieldProblems::of(
                IDEMPOTENCY_KEY,
                FieldProblem::NoIdempotencyKey,
            )));
        };
        let fingerprint = Sha256::new()
            .chain_update(self.route.method.as_str())
            .chain_update("\n")
            .chain_update(self.route.canonical(self.id))
            .chain_update("\n")
            .chain_update(body.bytes())
            .finalize();
        let fingerprint = fingerprint.iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Idempotency {
            key: Some(key.to_owned()),
            fingerprint: Some(fingerprint),
        })
    }

    /// One page of a list, with the links to the pages before and after.
    pub fn page(&self, query: &Query, answer: &Answer) -> Response {
        let base = self
            .instance
            .config
            .public_url
            .as_deref()
            .or(self.head.origin.as_deref())
            .unwrap_or_default();
        let address = format!("{base}{}", self.head.path);
        let page = Page {
            count: answer.count.unsigned_abs(),
            next: (answer.page < answer.pages).then(|| query.link(&address, answer.page + 1)),
            previous: (answer.page > 1).then(|| query.link(&address, answer.page - 1)),
            results: [(); 0],
        };
        envelope(&page, &answer.body)
    }
}

/// Puts the results, JSON that the database wrote, into the envelope's empty list without reading them again.
fn envelope(page: &Page<[(); 0]>, results: &str) -> Response {
    let mut response = Response::json(200, page);
    response.body.truncate(response.body.len().saturating_sub("[]}".len()));
    response.body.extend_from_slice(results.as_bytes());
    response.body.push(b'}');
    response
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};
    use sugang_sdk::types::PageOf;

    use super::*;

    fn head(headers: &[(&str, &str)]) -> Head {
        Head {
            method: Method::GET,
            path: "/tests/".into(),
            query: String::new(),
            origin: None,
            headers: headers
                .iter()
                .map(|(name, value)| ((*name).into(), value.as_bytes().to_vec()))
                .collect(),
        }
    }

    #[test]
    fn a_request_id_is_read_from_its_header_whatever_the_case() {
        assert_eq!(head(&[("X-Request-Id", "a.B_9-z")]).request_id(), "a.B_9-z");
        assert_ne!(head(&[]).request_id(), head(&[]).request_id());
    }

    #[test]
    fn the_results_stand_in_the_envelope_as_the_database_wrote_them() {
        let page = Page {
            count: 21,
            next: Some("http://h/tests/?page=2".into()),
            previous: None,
            results: [],
        };
        let response = envelope(&page, r#"[{"id":1,"title":"가"}]"#);
        let body: Value = serde_json::from_slice(&response.body).unwrap();
        assert_eq!(
            body,
            json!({"count": 21, "next": "http://h/tests/?page=2", "previous": null, "results": [{"id": 1, "title": "가"}]})
        );
        serde_json::from_slice::<Page<Vec<Value>>>(&response.body).unwrap();
    }

    proptest! {
        #[test]
        fn an_envelope_is_read_as_it_was_meant(
            count in any::<u64>(),
            next in any::<Option<String>>(),
            previous in any::<Option<String>>(),
            results in proptest::collection::vec(any::<(i64, String)>(), 0..5),
        ) {
            let page = Page { count, next, previous, results: [] };
            let response = envelope(&page, &serde_json::to_string(&results).unwrap());
            let Page { count, next, previous, .. } = page;
            let read: PageOf<(i64, String)> = serde_json::from_slice(&response.body).unwrap();
            prop_assert_eq!(read, Page { count, next, previous, results });
        }
    }
}
