//! Files of certificates and keys, in PEM.

use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, pem, pem::PemObject as _},
};

use crate::AddressError;

/// The authorities that a client trusts.
#[derive(Debug)]
pub(crate) struct Authorities {
    pub(crate) roots: RootCertStore,
    /// The same certificates: a server may show one of them as its own.
    pub(crate) certificates: Vec<CertificateDer<'static>>,
}

impl Authorities {
    /// Reads a file; `parameter` is the URL's parameter that names it.
    ///
    /// # Errors
    /// The file cannot be read, or holds no certificate.
    pub(crate) fn of_file(parameter: &'static str, path: &str) -> Result<Self, AddressError> {
        let certificates = certificates(parameter, path)?;
        let mut roots = RootCertStore::empty();
        for certificate in &certificates {
            roots.add(certificate.clone()).map_err(|error| {
                wrong(
                    parameter,
                    format!("{path} holds a certificate that cannot be read: {error}"),
                )
            })?;
        }
        Ok(Self { roots, certificates })
    }

    /// Those that this system trusts; `SSL_CERT_FILE` and `SSL_CERT_DIR` name others.
    ///
    /// # Errors
    /// The system has none.
    pub(crate) fn of_system(parameter: &'static str) -> Result<Self, AddressError> {
        let found = rustls_native_certs::load_native_certs();
        let mut roots = RootCertStore::empty();
        let (usable, _) = roots.add_parsable_certificates(found.certs);
        match usable {
            0 => Err(wrong(
                parameter,
                "this system has no certificates of authorities; install the package ca-certificates, or name a file"
                    .to_owned(),
            )),
            _ => Ok(Self {
                roots,
                certificates: Vec::new(),
            }),
        }
    }
}

/// The certificates of a file, at least one.
pub(super) fn certificates(parameter: &'static str, path: &str) -> Result<Vec<CertificateDer<'static>>, AddressError> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
    let certificates: Vec<_> = read.map_err(|error| unreadable(parameter, path, error))?;
    match certificates.is_empty() {
        true => Err(wrong(parameter, format!("{path} holds no certificate in PEM"))),
        false => Ok(certificates),
    }
}

/// The private key of a file.
pub(super) fn private_key(parameter: &'static str, path: &str) -> Result<PrivateKeyDer<'static>, AddressError> {
    PrivateKeyDer::from_pem_file(path).map_err(|error| match error {
        pem::Error::NoItemsFound => wrong(parameter, format!("{path} holds no unencrypted private key in PEM")),
        error => unreadable(parameter, path, error),
    })
}

fn unreadable(parameter: &'static str, path: &str, error: pem::Error) -> AddressError {
    let reason = match error {
        pem::Error::Io(error) => error.to_string(),
        error => error.to_string(),
    };
    wrong(parameter, format!("cannot read {path}: {reason}"))
}

fn wrong(parameter: &'static str, reason: String) -> AddressError {
    AddressError::Certificates { parameter, reason }
}
