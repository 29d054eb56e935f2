//! One page of a list.

use sugang_sdk::types::Page;

use crate::{context::RequestContext, extract::Query, http::Response, store::FunctionRow};

/// Builds the response with one page, and the links to the previous and the next page.
pub(super) fn page(ctx: &RequestContext<'_>, query: &Query, row: &FunctionRow) -> Response {
    let address = format!("{}{}", ctx.base(), ctx.head.path);
    let page = Page {
        count: row.count.unsigned_abs(),
        next: (row.page < row.pages).then(|| query.link(&address, row.page + 1)),
        previous: (row.page > 1).then(|| query.link(&address, row.page - 1)),
        results: [(); 0],
    };
    envelope(&page, &row.body)
}

/// Puts the results into the empty list of the envelope. The database wrote them as JSON, so they are not parsed again.
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

    #[test]
    fn the_envelope_holds_the_results_unchanged() {
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
        fn an_envelope_is_read_back_unchanged(
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
