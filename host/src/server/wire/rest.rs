//! What is still to come of a body.

use std::io;

use super::chunked::Chunked;

/// The rest of a body.
pub(super) enum Rest {
    Length(u64),
    Chunked(Chunked),
}

impl Rest {
    /// Returns how many of the bytes belong to the body, and whether it ends there.
    pub(super) fn advance(&mut self, bytes: &[u8]) -> io::Result<(usize, bool)> {
        match self {
            Self::Length(left) => {
                let taken = (*left).min(bytes.len() as u64);
                *left -= taken;
                Ok((taken as usize, *left == 0))
            }
            Self::Chunked(chunked) => chunked.advance(bytes).map_err(|_| io::ErrorKind::InvalidData.into()),
        }
    }
}
