//! Where an address comes from, which decides whether it may name files.

/// Where an address comes from.
#[derive(Clone, Copy)]
pub(super) enum Origin {
    /// A variable of the application, which its operator sets.
    Operator,
    /// The component, which must not have this machine's files read for it.
    Component,
}

impl Origin {
    /// Accepts the files of certificates that an address names.
    ///
    /// # Errors
    /// The component made the address; the message follows the name of its setting.
    pub(super) fn check_files(self) -> Result<(), String> {
        match self {
            Self::Operator => Ok(()),
            Self::Component => {
                Err("names a file of certificates, which only a variable of the application may".to_owned())
            }
        }
    }
}
