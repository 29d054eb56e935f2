//! Intervals: microseconds, days and months apart, as PostgreSQL keeps them.

use bytes::{Buf as _, BufMut as _, BytesMut};

use super::Fallible;
use crate::wit::bindings::spin::postgres::postgres::Interval;

pub(super) fn read(mut raw: &[u8]) -> Fallible<Interval> {
    Ok(Interval {
        micros: raw.try_get_i64()?,
        days: raw.try_get_i32()?,
        months: raw.try_get_i32()?,
    })
}

pub(super) fn write(interval: &Interval, out: &mut BytesMut) {
    out.put_i64(interval.micros);
    out.put_i32(interval.days);
    out.put_i32(interval.months);
}
