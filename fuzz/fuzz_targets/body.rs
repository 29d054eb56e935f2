//! A body, read as each form: what is read, sent again, is read the same; what is not, is refused with a client's error.
#![no_main]

use std::fmt::Debug;

use libfuzzer_sys::fuzz_target;
use serde::Serialize;
use sugang_api::{
    body::Body,
    errors::Failure,
    fields::{self, Object},
    language::Language,
};

fuzz_target!(|bytes: &[u8]| {
    let body = Body::from(bytes.to_vec());
    let Ok(object) = body.object() else { return };
    read(&object, fields::signup);
    read(&object, fields::login);
    read(&object, fields::refresh);
    read(&object, fields::register);
    read(&object, fields::cancel);
});

fn read<T: Serialize + PartialEq + Debug>(object: &Object<'_>, form: fn(&Object<'_>) -> Result<T, Failure>) {
    match form(object) {
        Ok(first) => {
            let again = Body::from(serde_json::to_vec(&first).expect("a form is JSON"));
            let second = again.object().and_then(|object| form(&object)).ok();
            assert_eq!(second, Some(first));
        }
        Err(failure) => assert_eq!(failure.into_response(Language::English, "fuzz").status, 400),
    }
}
