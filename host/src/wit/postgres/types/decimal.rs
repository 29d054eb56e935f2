//! Decimal numbers, digit by digit: a `numeric` may be longer than any decimal type of Rust.

use bytes::{Buf as _, BufMut as _, BytesMut};
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type};

use super::Fallible;

/// A `numeric` as its decimal text.
#[derive(Debug)]
pub(super) struct Decimal(pub(super) String);

/// Decimal digits of one group on the wire. The first group counts 10000^weight.
const GROUP: usize = 4;
const POSITIVE: u16 = 0x0000;
const NEGATIVE: u16 = 0x4000;
const NAN: u16 = 0xC000;
const INFINITY: u16 = 0xD000;
const NEGATIVE_INFINITY: u16 = 0xF000;

impl<'a> FromSql<'a> for Decimal {
    fn from_sql(_: &Type, mut raw: &'a [u8]) -> Fallible<Self> {
        let groups = raw.try_get_u16()?;
        let weight = raw.try_get_i16()?;
        let sign = raw.try_get_u16()?;
        let scale = usize::from(raw.try_get_u16()?);
        let mut text = match sign {
            POSITIVE => String::new(),
            NEGATIVE => "-".to_owned(),
            NAN => return Ok(Self("NaN".to_owned())),
            INFINITY => return Ok(Self("Infinity".to_owned())),
            NEGATIVE_INFINITY => return Ok(Self("-Infinity".to_owned())),
            _ => return Err(format!("a numeric has the unknown sign {sign:#06x}").into()),
        };
        let groups = (0..groups).map(|_| raw.try_get_u16()).collect::<Result<Vec<_>, _>>()?;
        let group = |position: i32| {
            let index = usize::try_from(i32::from(weight) - position).ok();
            index.and_then(|index| groups.get(index)).copied().unwrap_or(0)
        };
        text += &group(i32::from(weight).max(0)).to_string();
        for position in (0..i32::from(weight)).rev() {
            text += &format!("{:04}", group(position));
        }
        if scale > 0 {
            text.push('.');
            let end = text.len() + scale;
            let mut position = -1;
            while text.len() < end {
                text += &format!("{:04}", group(position));
                position -= 1;
            }
            text.truncate(end);
        }
        Ok(Self(text))
    }

    fn accepts(ty: &Type) -> bool {
        *ty == Type::NUMERIC
    }
}

impl ToSql for Decimal {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Fallible<IsNull> {
        if self.0.eq_ignore_ascii_case("nan") {
            for word in [0, 0, NAN, 0] {
                out.put_u16(word);
            }
            return Ok(IsNull::No);
        }
        let (sign, number) = match self.0.strip_prefix('-') {
            Some(number) => (NEGATIVE, number),
            None => (POSITIVE, self.0.strip_prefix('+').unwrap_or(&self.0)),
        };
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        let is_digits = |digits: &str| digits.bytes().all(|digit| digit.is_ascii_digit());
        if !(is_digits(whole) && is_digits(fraction)) || whole.len() + fraction.len() == 0 {
            return Err(format!("\"{}\" is not a decimal number", self.0).into());
        }
        let whole = whole.trim_start_matches('0');
        // The bounds of `numeric` itself, https://www.postgresql.org/docs/current/datatype-numeric.html
        if whole.len() > 131_072 || fraction.len() > 16_383 {
            return Err("the decimal number has too many digits".into());
        }
        let (groups, weight) = to_groups(whole, fraction);
        out.put_u16(groups.len() as u16);
        out.put_i16(weight);
        out.put_u16(if groups.is_empty() { POSITIVE } else { sign });
        out.put_u16(fraction.len() as u16);
        groups.iter().for_each(|group| out.put_u16(*group));
        Ok(IsNull::No)
    }

    fn accepts(ty: &Type) -> bool {
        *ty == Type::NUMERIC
    }

    tokio_postgres::types::to_sql_checked!();
}

/// The groups of a number without zeros at either end, and the weight of the first one.
fn to_groups(whole: &str, fraction: &str) -> (Vec<u16>, i16) {
    let lead = whole.len().next_multiple_of(GROUP) - whole.len();
    let tail = fraction.len().next_multiple_of(GROUP) - fraction.len();
    let digits = ["0".repeat(lead).as_str(), whole, fraction, "0".repeat(tail).as_str()].concat();
    let group = |digits: &[u8]| {
        digits
            .iter()
            .fold(0, |value, digit| value * 10 + u16::from(digit - b'0'))
    };
    let mut groups: Vec<u16> = digits.as_bytes().chunks(GROUP).map(group).collect();
    let zeros = groups.iter().take_while(|group| **group == 0).count();
    if zeros == groups.len() {
        return (Vec::new(), 0);
    }
    groups.drain(..zeros);
    let used = groups.len() - groups.iter().rev().take_while(|group| **group == 0).count();
    groups.truncate(used);
    let weight = whole.len().div_ceil(GROUP) as i32 - 1 - zeros as i32;
    (groups, weight as i16)
}
