//! Verifies the server's certificate as `sslmode` says.

use std::time::{Duration, SystemTime};

use rustls::{
    CertificateError, DigitallySignedStruct, Error, SignatureScheme,
    client::{
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_cert_signed_by_trust_anchor, verify_server_name,
    },
    crypto::{
        WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature, verify_tls13_signature_with_raw_key,
    },
    pki_types::{CertificateDer, ServerName, UnixTime},
    server::ParsedCertificate,
};

use super::{
    certificate::{is_current, is_named, public_key},
    files::Authorities,
};

/// What a client demands of the server's certificate.
pub(crate) enum Verification {
    /// Nothing: the connection is encrypted, with whichever server answers.
    Unverified,
    /// One of these authorities has signed it.
    Chain(Authorities),
    /// One of these authorities has signed it, for the host that the URL names.
    Host(Authorities),
}

#[derive(Debug)]
pub(super) struct Verifier {
    authorities: Option<Authorities>,
    /// Whether the certificate must be for the host.
    names: bool,
    algorithms: WebPkiSupportedAlgorithms,
}

impl Verifier {
    pub(super) fn new(verification: Verification, algorithms: WebPkiSupportedAlgorithms) -> Self {
        let (authorities, names) = match verification {
            Verification::Unverified => (None, false),
            Verification::Chain(authorities) => (Some(authorities), false),
            Verification::Host(authorities) => (Some(authorities), true),
        };
        Self {
            authorities,
            names,
            algorithms,
        }
    }
}

impl Authorities {
    fn verify(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
        algorithms: WebPkiSupportedAlgorithms,
    ) -> Result<(), Error> {
        // A self-signed certificate of an authority is no server's certificate by the rules of chains; where the very same
        // is trusted, libpq accepts it.
        if self.certificates.contains(certificate) {
            let now = SystemTime::UNIX_EPOCH + Duration::from_secs(now.as_secs());
            return match is_current(certificate, now) {
                true => Ok(()),
                false => Err(CertificateError::Expired.into()),
            };
        }
        let parsed = ParsedCertificate::try_from(certificate)?;
        verify_server_cert_signed_by_trust_anchor(&parsed, &self.roots, intermediates, now, algorithms.all)
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if let Some(authorities) = &self.authorities {
            authorities.verify(end_entity, intermediates, now, self.algorithms)?;
        }
        if self.names && !is_named(end_entity, &server_name.to_str()) {
            verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let verified = verify_tls13_signature(message, certificate, signature, &self.algorithms);
        // PostgreSQL's manual makes a certificate of X.509 version 1, which rustls does not read. Where nothing is demanded
        // of the certificate, its key suffices.
        if self.authorities.is_none()
            && matches!(verified, Err(Error::InvalidCertificate(_)))
            && let Some(key) = public_key(certificate)
        {
            return verify_tls13_signature_with_raw_key(message, &key, signature, &self.algorithms);
        }
        verified
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
