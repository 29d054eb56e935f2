//! Ranges.

use bytes::BytesMut;
use postgres_protocol::types::{self as wire, Range, RangeBound};
use tokio_postgres::types::{FromSql, ToSql, Type};

use super::Fallible;
use crate::wit::bindings::spin::postgres::postgres::RangeBoundKind;

type Bounds<T> = (Option<(T, RangeBoundKind)>, Option<(T, RangeBoundKind)>);

/// Reads a range.
///
/// # Errors
/// The range is empty: the WIT type has no such value, and a range without bounds would be another one.
pub(super) fn read<T: for<'a> FromSql<'a>>(raw: &[u8], ty: &Type) -> Fallible<Bounds<T>> {
    let bound = |bound: RangeBound<Option<&[u8]>>| {
        let (raw, kind) = match bound {
            RangeBound::Inclusive(raw) => (raw, RangeBoundKind::Inclusive),
            RangeBound::Exclusive(raw) => (raw, RangeBoundKind::Exclusive),
            RangeBound::Unbounded => return Ok(None),
        };
        raw.map(|raw| T::from_sql(ty, raw).map(|value| (value, kind)))
            .transpose()
    };
    match wire::range_from_sql(raw)? {
        Range::Empty => Err("an empty range cannot be expressed in this interface".into()),
        Range::Nonempty(lower, upper) => Ok((bound(lower)?, bound(upper)?)),
    }
}

pub(super) fn write<T: ToSql>(
    lower: Option<&(T, RangeBoundKind)>,
    upper: Option<&(T, RangeBoundKind)>,
    ty: &Type,
    out: &mut BytesMut,
) -> Fallible<()> {
    let bound = |bound: Option<&(T, RangeBoundKind)>, out: &mut BytesMut| {
        let Some((value, kind)) = bound else {
            return Ok(RangeBound::Unbounded);
        };
        value.to_sql(ty, out)?;
        Ok(match kind {
            RangeBoundKind::Inclusive => RangeBound::Inclusive(postgres_protocol::IsNull::No),
            RangeBoundKind::Exclusive => RangeBound::Exclusive(postgres_protocol::IsNull::No),
        })
    };
    wire::range_to_sql(|out| bound(lower, out), |out| bound(upper, out), out)
}
