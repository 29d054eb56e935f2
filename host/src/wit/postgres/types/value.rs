//! Values of results.

use std::error::Error as _;

use chrono::{DateTime, Utc};
use tokio_postgres::{
    Row,
    types::{FromSql, Type},
};
use uuid::Uuid;

use super::{Fallible, decimal::Decimal, interval, range, time};
use crate::wit::bindings::spin::postgres::postgres::{DbValue, Error};

/// Converts the values of a row.
///
/// # Errors
/// `value-conversion-failed` for a value that the interface cannot express; it names the column.
pub(in crate::wit::postgres) fn row(row: &Row) -> Result<Vec<DbValue>, Error> {
    let value = |index: usize| {
        row.try_get(index)
            .map(|Read(value)| value)
            .map_err(|error: tokio_postgres::Error| {
                let cause = error.source().map_or_else(|| error.to_string(), ToString::to_string);
                Error::ValueConversionFailed(format!("column \"{}\": {cause}", row.columns()[index].name()))
            })
    };
    (0..row.len()).map(value).collect()
}

struct Read(DbValue);

impl<'a> FromSql<'a> for Read {
    fn from_sql(ty: &Type, raw: &'a [u8]) -> Fallible<Self> {
        read(ty, raw).map(Self)
    }

    fn from_sql_null(_: &Type) -> Fallible<Self> {
        Ok(Self(DbValue::DbNull))
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}

pub(super) fn read(ty: &Type, raw: &[u8]) -> Fallible<DbValue> {
    Ok(match *ty {
        Type::BOOL => DbValue::Boolean(FromSql::from_sql(ty, raw)?),
        Type::INT2 => DbValue::Int16(FromSql::from_sql(ty, raw)?),
        Type::INT4 => DbValue::Int32(FromSql::from_sql(ty, raw)?),
        Type::INT8 => DbValue::Int64(FromSql::from_sql(ty, raw)?),
        Type::FLOAT4 => DbValue::Floating32(FromSql::from_sql(ty, raw)?),
        Type::FLOAT8 => DbValue::Floating64(FromSql::from_sql(ty, raw)?),
        Type::TEXT | Type::VARCHAR | Type::BPCHAR => DbValue::Str(FromSql::from_sql(ty, raw)?),
        Type::BYTEA => DbValue::Binary(raw.to_vec()),
        Type::DATE => DbValue::Date(time::from_date(FromSql::from_sql(ty, raw)?)?),
        Type::TIME => DbValue::Time(time::from_time(FromSql::from_sql(ty, raw)?)),
        Type::TIMESTAMP => DbValue::Datetime(time::from_datetime(FromSql::from_sql(ty, raw)?)?),
        Type::TIMESTAMPTZ => {
            let instant: DateTime<Utc> = FromSql::from_sql(ty, raw)?;
            DbValue::Datetime(time::from_datetime(instant.naive_utc())?)
        }
        Type::UUID => DbValue::Uuid(Uuid::from_sql(ty, raw)?.to_string()),
        // The first byte is the version of the format; there is only one.
        Type::JSONB => DbValue::Jsonb(raw.get(1..).unwrap_or_default().to_vec()),
        Type::NUMERIC => DbValue::Decimal(Decimal::from_sql(ty, raw)?.0),
        Type::INT4_RANGE => DbValue::RangeInt32(range::read(raw, &Type::INT4)?),
        Type::INT8_RANGE => DbValue::RangeInt64(range::read(raw, &Type::INT8)?),
        Type::NUM_RANGE => {
            let (lower, upper) = range::read::<Decimal>(raw, &Type::NUMERIC)?;
            let text = |(Decimal(text), kind)| (text, kind);
            DbValue::RangeDecimal((lower.map(text), upper.map(text)))
        }
        Type::INT4_ARRAY => DbValue::ArrayInt32(FromSql::from_sql(ty, raw)?),
        Type::INT8_ARRAY => DbValue::ArrayInt64(FromSql::from_sql(ty, raw)?),
        Type::NUMERIC_ARRAY => {
            let decimals: Vec<Option<Decimal>> = FromSql::from_sql(ty, raw)?;
            DbValue::ArrayDecimal(
                decimals
                    .into_iter()
                    .map(|decimal| decimal.map(|decimal| decimal.0))
                    .collect(),
            )
        }
        Type::TEXT_ARRAY | Type::VARCHAR_ARRAY | Type::BPCHAR_ARRAY => DbValue::ArrayStr(FromSql::from_sql(ty, raw)?),
        Type::INTERVAL => DbValue::Interval(interval::read(raw)?),
        _ => DbValue::Unsupported(raw.to_vec()),
    })
}

/// Estimates the memory that a value takes, in bytes.
pub(in crate::wit::postgres) fn size(value: &DbValue) -> usize {
    let content = match value {
        DbValue::Str(text) | DbValue::Uuid(text) | DbValue::Decimal(text) => text.len(),
        DbValue::Binary(bytes) | DbValue::Jsonb(bytes) | DbValue::Unsupported(bytes) => bytes.len(),
        DbValue::ArrayInt32(values) => values.len() * size_of::<Option<i32>>(),
        DbValue::ArrayInt64(values) => values.len() * size_of::<Option<i64>>(),
        DbValue::ArrayDecimal(values) | DbValue::ArrayStr(values) => values
            .iter()
            .map(|value| size_of::<Option<String>>() + value.as_ref().map_or(0, String::len))
            .sum(),
        _ => 0,
    };
    size_of::<DbValue>() + content
}
