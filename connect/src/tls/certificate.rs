//! What a certificate says beside its chain.

use std::time::SystemTime;

use rustls::pki_types::{CertificateDer, SubjectPublicKeyInfoDer};
use sha2::{Digest as _, Sha256, Sha384, Sha512};
use x509_cert::{
    Certificate,
    der::{
        Decode as _, Encode as _,
        asn1::{ObjectIdentifier, PrintableStringRef, TeletexStringRef, Utf8StringRef},
    },
};

const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");
const SUBJECT_ALTERNATIVE_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.17");

/// The hash of a certificate that `tls-server-end-point` (RFC 5929) binds a login to; `None` where it is not defined.
pub(crate) fn end_point_hash(certificate: &CertificateDer<'_>) -> Option<Vec<u8>> {
    let parsed = Certificate::from_der(certificate).ok()?;
    match parsed.signature_algorithm().oid.to_string().as_str() {
        // With MD5 or SHA-1, SHA-256 takes their place.
        "1.2.840.113549.1.1.4"
        | "1.2.840.113549.1.1.5"
        | "1.2.840.113549.1.1.11"
        | "1.2.840.10045.4.1"
        | "1.2.840.10045.4.3.2" => Some(Sha256::digest(certificate).to_vec()),
        "1.2.840.113549.1.1.12" | "1.2.840.10045.4.3.3" => Some(Sha384::digest(certificate).to_vec()),
        "1.2.840.113549.1.1.13" | "1.2.840.10045.4.3.4" => Some(Sha512::digest(certificate).to_vec()),
        _ => None,
    }
}

/// The key of a certificate, of whichever version of X.509; `None` if it cannot be read.
pub(super) fn public_key(certificate: &CertificateDer<'_>) -> Option<SubjectPublicKeyInfoDer<'static>> {
    let parsed = Certificate::from_der(certificate).ok()?;
    let key = parsed.tbs_certificate().subject_public_key_info().to_der().ok()?;
    Some(SubjectPublicKeyInfoDer::from(key))
}

/// Whether a certificate is valid at this moment.
pub(super) fn is_current(certificate: &CertificateDer<'_>, now: SystemTime) -> bool {
    let validity = |parsed: Certificate| *parsed.tbs_certificate().validity();
    Certificate::from_der(certificate).map(validity).is_ok_and(|validity| {
        (validity.not_before.to_system_time()..=validity.not_after.to_system_time()).contains(&now)
    })
}

/// Whether a certificate without alternative names has this host as its common name, as libpq accepts it.
pub(super) fn is_named(certificate: &CertificateDer<'_>, host: &str) -> bool {
    let Ok(parsed) = Certificate::from_der(certificate) else {
        return false;
    };
    let parsed = parsed.tbs_certificate();
    let mut extensions = parsed.extensions().into_iter().flatten();
    if extensions.any(|extension| extension.extn_id == SUBJECT_ALTERNATIVE_NAME) {
        return false;
    }
    let attributes = parsed.subject().iter().filter(|attribute| attribute.oid == COMMON_NAME);
    attributes
        .filter_map(|attribute| {
            let value = &attribute.value;
            let text = value
                .decode_as::<Utf8StringRef<'_>>()
                .map(|text| text.as_str().to_owned());
            text.or_else(|_| {
                value
                    .decode_as::<PrintableStringRef<'_>>()
                    .map(|text| text.as_str().to_owned())
            })
            .or_else(|_| {
                value
                    .decode_as::<TeletexStringRef<'_>>()
                    .map(|text| text.as_str().to_owned())
            })
            .ok()
        })
        .any(|name| matches(&name, host))
}

/// Compares a name of a certificate, whose first label may be `*`, with a host.
fn matches(name: &str, host: &str) -> bool {
    match name.strip_prefix("*.") {
        Some(domain) => host
            .split_once('.')
            .is_some_and(|(label, rest)| !label.is_empty() && rest.eq_ignore_ascii_case(domain)),
        None => name.eq_ignore_ascii_case(host),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_one_label() {
        for (name, host, expected) in [
            ("db.example", "DB.example", true),
            ("db.example", "db.example.com", false),
            ("*.example.com", "db.example.com", true),
            ("*.example.com", "a.db.example.com", false),
            ("*.example.com", "example.com", false),
            ("*.example.com", ".example.com", false),
        ] {
            assert_eq!(matches(name, host), expected, "{name} {host}");
        }
    }
}
