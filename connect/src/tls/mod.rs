//! TLS by rustls, as the URLs of the stores ask for it.

mod certificate;
mod files;
mod verifier;

use std::sync::Arc;

use rustls::{ClientConfig, crypto::ring};
use sugang_protocol::store_url::ClientCertificate;

pub(crate) use certificate::end_point_hash;
pub(crate) use files::Authorities;
pub(crate) use verifier::Verification;
use verifier::Verifier;

use crate::AddressError;

/// A client's certificate, with the names of the parameters that hold its files.
pub(crate) struct Identity<'a> {
    pub(crate) files: &'a ClientCertificate,
    pub(crate) certificate_parameter: &'static str,
    pub(crate) key_parameter: &'static str,
}

/// Makes the settings of a client.
///
/// # Errors
/// The client's certificate or key cannot be used.
pub(crate) fn client_config(
    verification: Verification,
    identity: Option<Identity<'_>>,
) -> Result<Arc<ClientConfig>, AddressError> {
    let provider = Arc::new(ring::default_provider());
    let verifier = Arc::new(Verifier::new(verification, provider.signature_verification_algorithms));
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| AddressError::Certificates {
            parameter: "TLS",
            reason: error.to_string(),
        })?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    Ok(Arc::new(match identity {
        None => config.with_no_client_auth(),
        Some(identity) => {
            let chain = files::certificates(identity.certificate_parameter, &identity.files.certificate)?;
            let key = files::private_key(identity.key_parameter, &identity.files.key)?;
            config
                .with_client_auth_cert(chain, key)
                .map_err(|error| AddressError::Certificates {
                    parameter: identity.key_parameter,
                    reason: format!("it does not fit the certificate: {error}"),
                })?
        }
    }))
}
