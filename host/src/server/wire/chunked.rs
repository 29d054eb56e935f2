//! Chunked bodies as bytes: where they end.

/// Bytes of chunk extensions and trailers, together. Nothing reads them.
const MAX_OVERHEAD: usize = 16 << 10;

/// A place in a chunked body, which moves as bytes arrive. Line ends are CR LF and nothing else, so that no two
/// implementations on the way can disagree on where the body ends.
pub(super) struct Chunked {
    state: State,
    overhead: usize,
}

enum State {
    Size {
        digits: u8,
        size: u64,
    },
    Extension {
        size: u64,
    },
    SizeEnd {
        size: u64,
    },
    Data {
        left: u64,
    },
    DataCr,
    DataLf,
    /// At the beginning of a line of trailers.
    LineStart,
    Line,
    LineEnd,
    /// Behind the CR of the empty line that ends the body.
    LastLf,
}

/// The body breaks the rules of the chunked coding.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Malformed;

impl Chunked {
    pub(super) fn new() -> Self {
        Self {
            state: State::Size { digits: 0, size: 0 },
            overhead: 0,
        }
    }

    /// Moves over `bytes`. Returns how many of them belong to the body, and whether it ends there.
    pub(super) fn advance(&mut self, bytes: &[u8]) -> Result<(usize, bool), Malformed> {
        let mut at = 0;
        while let Some(&byte) = bytes.get(at) {
            if let State::Data { left } = &mut self.state {
                let taken = (*left).min((bytes.len() - at) as u64);
                *left -= taken;
                at += taken as usize;
                if *left == 0 {
                    self.state = State::DataCr;
                }
                continue;
            }
            at += 1;
            if matches!(self.state, State::LastLf) && byte == b'\n' {
                return Ok((at, true));
            }
            self.step(byte)?;
        }
        Ok((at, false))
    }

    fn step(&mut self, byte: u8) -> Result<(), Malformed> {
        self.state = match (&self.state, byte) {
            (State::Size { digits, size }, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') if *digits < 15 => {
                let digit = char::from(byte).to_digit(16).ok_or(Malformed)?;
                State::Size {
                    digits: digits + 1,
                    size: size << 4 | u64::from(digit),
                }
            }
            (State::Size { digits: 1.., size }, b'\r') => State::SizeEnd { size: *size },
            (State::Size { digits: 1.., size }, b';') => State::Extension { size: *size },
            (State::Extension { size }, b'\r') => State::SizeEnd { size: *size },
            (State::Extension { size }, _) if is_text(byte) => {
                let size = *size;
                self.count()?;
                State::Extension { size }
            }
            (State::SizeEnd { size: 0 }, b'\n') => State::LineStart,
            (State::SizeEnd { size }, b'\n') => State::Data { left: *size },
            (State::DataCr, b'\r') => State::DataLf,
            (State::DataLf, b'\n') => State::Size { digits: 0, size: 0 },
            (State::LineStart, b'\r') => State::LastLf,
            (State::Line, b'\r') => State::LineEnd,
            (State::LineStart | State::Line, _) if is_text(byte) => {
                self.count()?;
                State::Line
            }
            (State::LineEnd, b'\n') => State::LineStart,
            _ => return Err(Malformed),
        };
        Ok(())
    }

    fn count(&mut self) -> Result<(), Malformed> {
        self.overhead += 1;
        if self.overhead > MAX_OVERHEAD {
            Err(Malformed)
        } else {
            Ok(())
        }
    }
}

fn is_text(byte: u8) -> bool {
    byte == b'\t' || (byte >= b' ' && byte != 0x7f)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The length of the body at the beginning of `bytes`, whole and byte by byte; 0 if it is unfinished.
    fn length(bytes: &[u8]) -> Result<usize, Malformed> {
        let whole = Chunked::new()
            .advance(bytes)
            .map(|(length, ended)| if ended { length } else { 0 });
        let mut chunked = Chunked::new();
        let mut slowly = Ok(0);
        for (index, byte) in bytes.iter().enumerate() {
            match chunked.advance(&[*byte]) {
                Ok((_, false)) => {}
                Ok((_, true)) => {
                    slowly = Ok(index + 1);
                    break;
                }
                Err(error) => {
                    slowly = Err(error);
                    break;
                }
            }
        }
        assert_eq!(whole, slowly, "{}", String::from_utf8_lossy(bytes));
        whole
    }

    #[test]
    fn a_body_ends_with_its_last_chunk_and_trailers() {
        for body in [
            "0\r\n\r\n",
            "2\r\n{}\r\n0\r\n\r\n",
            "A;x=\"y\"\r\n0123456789\r\n00\r\nA: b\r\nC:\r\n\r\n",
        ] {
            assert_eq!(length(format!("{body}GET /").as_bytes()), Ok(body.len()), "{body}");
            assert_eq!(length(&body.as_bytes()[..body.len() - 1]), Ok(0), "{body}");
        }
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_malformed() {
        for body in [
            "\r\n",
            "g\r\n",
            "-1\r\n",
            "+1\r\n",
            "0x2\r\n{}\r\n",
            " 2\r\n{}\r\n",
            "2 \r\n{}\r\n",
            "2\n{}\r\n",
            "2\r{}\r\n",
            "2\r\n{}0\r\n",
            "2\r\n{}\n0\r\n",
            "2\r\n{}x\r\n",
            "2;a\nb\r\n{}\r\n",
            "0\r\n\n",
            "0\r\nA: b\n\r\n",
            "0\r\nA: b\r\r\n",
            "1000000000000000\r\n",
            "2;\0\r\n",
        ] {
            assert_eq!(length(body.as_bytes()), Err(Malformed), "{body:?}");
        }
        assert_eq!(
            length(format!("2;{}\r\n", "x".repeat(MAX_OVERHEAD + 1)).as_bytes()),
            Err(Malformed)
        );
    }
}
