//! A query string: no parameter breaks anything, and the link to a page asks for that page.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sugang_api::query::Query;

fuzz_target!(|text: &str| {
    let query = Query::parse(text);
    assert!(query.page().map_or(true, |page| page >= 0));
    let _ = query.days(["from", "to"]);
    let search = query.text("search");
    for page in [1, 2, i64::MAX] {
        let link = query.link("/tests/", page);
        assert!(link.bytes().all(|byte| byte.is_ascii_graphic()), "{link}");
        let linked = Query::parse(link.split_once('?').map_or("", |(_, query)| query));
        assert_eq!(linked.page().ok(), Some(page));
        assert_eq!(linked.text("search"), search);
        assert_eq!(linked.link("/tests/", page), link);
    }
});
