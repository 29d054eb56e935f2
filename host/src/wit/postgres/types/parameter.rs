//! Parameters of statements.

use bytes::{BufMut as _, BytesMut};
use chrono::{DateTime, Utc};
use tokio_postgres::types::{IsNull, ToSql, Type};
use uuid::Uuid;

use super::{Fallible, decimal::Decimal, interval, range, time};
use crate::wit::bindings::spin::postgres::postgres::{Error, ParameterValue};

/// A parameter in PostgreSQL's format; `None` is null.
#[derive(Debug)]
pub(in crate::wit::postgres) struct Parameter(Option<BytesMut>);

impl Parameter {
    pub(in crate::wit::postgres) const NULL: Self = Self(None);
}

impl ToSql for Parameter {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Fallible<IsNull> {
        match &self.0 {
            None => Ok(IsNull::Yes),
            Some(bytes) => {
                out.extend_from_slice(bytes);
                Ok(IsNull::No)
            }
        }
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    fn to_sql_checked(&self, ty: &Type, out: &mut BytesMut) -> Fallible<IsNull> {
        self.to_sql(ty, out)
    }
}

/// Converts the parameters of a statement to the types that it takes.
///
/// # Errors
/// `bad-parameter` for a wrong number or type, `value-conversion-failed` for a value that its own type does not have.
pub(in crate::wit::postgres) fn parameters(types: &[Type], values: &[ParameterValue]) -> Result<Vec<Parameter>, Error> {
    if types.len() != values.len() {
        let message = format!("the statement takes {} parameters, not {}", types.len(), values.len());
        return Err(Error::BadParameter(message));
    }
    let parameter = |(index, (value, ty)): (usize, (&ParameterValue, &Type))| {
        let mut bytes = BytesMut::new();
        let failed = |error| Error::ValueConversionFailed(format!("parameter ${}: {error}", index + 1));
        match write(value, ty, &mut bytes).map_err(failed)? {
            Written::Yes => Ok(Parameter(Some(bytes))),
            Written::Null => Ok(Parameter::NULL),
            Written::WrongType => Err(Error::BadParameter(format!(
                "parameter ${} is of the type {ty}, but the value is {}",
                index + 1,
                type_name(value)
            ))),
        }
    };
    values.iter().zip(types).enumerate().map(parameter).collect()
}

/// The type that a value has by itself, for a statement whose types are not known before it is sent. PostgreSQL finds out
/// the type of a null.
pub(in crate::wit::postgres) fn own_type(value: &ParameterValue) -> Type {
    match value {
        ParameterValue::DbNull => Type::UNKNOWN,
        ParameterValue::Boolean(_) => Type::BOOL,
        ParameterValue::Int8(_) => Type::CHAR,
        ParameterValue::Int16(_) => Type::INT2,
        ParameterValue::Int32(_) => Type::INT4,
        ParameterValue::Int64(_) => Type::INT8,
        ParameterValue::Floating32(_) => Type::FLOAT4,
        ParameterValue::Floating64(_) => Type::FLOAT8,
        ParameterValue::Str(_) => Type::TEXT,
        ParameterValue::Binary(_) => Type::BYTEA,
        ParameterValue::Date(_) => Type::DATE,
        ParameterValue::Time(_) => Type::TIME,
        ParameterValue::Datetime(_) => Type::TIMESTAMP,
        ParameterValue::Timestamp(_) => Type::TIMESTAMPTZ,
        ParameterValue::Uuid(_) => Type::UUID,
        ParameterValue::Jsonb(_) => Type::JSONB,
        ParameterValue::Decimal(_) => Type::NUMERIC,
        ParameterValue::RangeInt32(_) => Type::INT4_RANGE,
        ParameterValue::RangeInt64(_) => Type::INT8_RANGE,
        ParameterValue::RangeDecimal(_) => Type::NUM_RANGE,
        ParameterValue::ArrayInt32(_) => Type::INT4_ARRAY,
        ParameterValue::ArrayInt64(_) => Type::INT8_ARRAY,
        ParameterValue::ArrayDecimal(_) => Type::NUMERIC_ARRAY,
        ParameterValue::ArrayStr(_) => Type::TEXT_ARRAY,
        ParameterValue::Interval(_) => Type::INTERVAL,
    }
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Written {
    Yes,
    Null,
    WrongType,
}

/// Writes one parameter, unless it is of another type than `ty`.
pub(super) fn write(value: &ParameterValue, ty: &Type, out: &mut BytesMut) -> Fallible<Written> {
    fn put<T: ToSql>(value: T, ty: &Type, out: &mut BytesMut) -> Fallible<Written> {
        if !T::accepts(ty) {
            return Ok(Written::WrongType);
        }
        value.to_sql(ty, out)?;
        Ok(Written::Yes)
    }
    match value {
        ParameterValue::DbNull => Ok(Written::Null),
        ParameterValue::Boolean(value) => put(value, ty, out),
        ParameterValue::Int8(value) => put(value, ty, out),
        ParameterValue::Int16(value) => put(value, ty, out),
        ParameterValue::Int32(value) => put(value, ty, out),
        ParameterValue::Int64(value) => put(value, ty, out),
        ParameterValue::Floating32(value) => put(value, ty, out),
        ParameterValue::Floating64(value) => put(value, ty, out),
        ParameterValue::Str(value) => put(value, ty, out),
        ParameterValue::Binary(value) => put(value, ty, out),
        ParameterValue::Date(value) => put(time::to_date(*value)?, ty, out),
        ParameterValue::Time((hour, minute, second, nano)) => {
            put(time::to_time(*hour, *minute, *second, *nano)?, ty, out)
        }
        ParameterValue::Datetime((year, month, day, hour, minute, second, nano)) => {
            let datetime =
                time::to_date((*year, *month, *day))?.and_time(time::to_time(*hour, *minute, *second, *nano)?);
            match *ty {
                Type::TIMESTAMPTZ => put(datetime.and_utc(), ty, out),
                _ => put(datetime, ty, out),
            }
        }
        ParameterValue::Timestamp(seconds) => {
            let instant = DateTime::<Utc>::from_timestamp(*seconds, 0);
            put(
                instant.ok_or_else(|| format!("{seconds} s since 1970 is out of range"))?,
                ty,
                out,
            )
        }
        ParameterValue::Uuid(value) => put(Uuid::parse_str(value)?, ty, out),
        ParameterValue::Jsonb(value) => {
            match *ty {
                Type::JSONB => out.put_u8(1),
                Type::JSON => {}
                _ => return Ok(Written::WrongType),
            }
            out.extend_from_slice(value);
            Ok(Written::Yes)
        }
        ParameterValue::Decimal(value) => put(Decimal(value.clone()), ty, out),
        ParameterValue::RangeInt32((lower, upper)) if *ty == Type::INT4_RANGE => {
            range::write(lower.as_ref(), upper.as_ref(), &Type::INT4, out).map(|()| Written::Yes)
        }
        ParameterValue::RangeInt64((lower, upper)) if *ty == Type::INT8_RANGE => {
            range::write(lower.as_ref(), upper.as_ref(), &Type::INT8, out).map(|()| Written::Yes)
        }
        ParameterValue::RangeDecimal((lower, upper)) if *ty == Type::NUM_RANGE => {
            let decimal = |(text, kind): &(String, _)| (Decimal(text.clone()), *kind);
            let (lower, upper) = (lower.as_ref().map(decimal), upper.as_ref().map(decimal));
            range::write(lower.as_ref(), upper.as_ref(), &Type::NUMERIC, out).map(|()| Written::Yes)
        }
        ParameterValue::RangeInt32(_) | ParameterValue::RangeInt64(_) | ParameterValue::RangeDecimal(_) => {
            Ok(Written::WrongType)
        }
        ParameterValue::ArrayInt32(values) => put(values, ty, out),
        ParameterValue::ArrayInt64(values) => put(values, ty, out),
        ParameterValue::ArrayStr(values) => put(values, ty, out),
        ParameterValue::ArrayDecimal(values) => {
            let decimals: Vec<_> = values.iter().map(|value| value.clone().map(Decimal)).collect();
            put(decimals, ty, out)
        }
        ParameterValue::Interval(value) => {
            if *ty != Type::INTERVAL {
                return Ok(Written::WrongType);
            }
            interval::write(value, out);
            Ok(Written::Yes)
        }
    }
}

/// The WIT name of a value's type.
fn type_name(value: &ParameterValue) -> &'static str {
    match value {
        ParameterValue::Boolean(_) => "boolean",
        ParameterValue::Int8(_) => "int8 (one byte)",
        ParameterValue::Int16(_) => "int16",
        ParameterValue::Int32(_) => "int32",
        ParameterValue::Int64(_) => "int64",
        ParameterValue::Floating32(_) => "floating32",
        ParameterValue::Floating64(_) => "floating64",
        ParameterValue::Str(_) => "str",
        ParameterValue::Binary(_) => "binary",
        ParameterValue::Date(_) => "date",
        ParameterValue::Time(_) => "time",
        ParameterValue::Datetime(_) => "datetime",
        ParameterValue::Timestamp(_) => "timestamp",
        ParameterValue::Uuid(_) => "uuid",
        ParameterValue::Jsonb(_) => "jsonb",
        ParameterValue::Decimal(_) => "decimal",
        ParameterValue::RangeInt32(_) => "range-int32",
        ParameterValue::RangeInt64(_) => "range-int64",
        ParameterValue::RangeDecimal(_) => "range-decimal",
        ParameterValue::ArrayInt32(_) => "array-int32",
        ParameterValue::ArrayInt64(_) => "array-int64",
        ParameterValue::ArrayDecimal(_) => "array-decimal",
        ParameterValue::ArrayStr(_) => "array-str",
        ParameterValue::Interval(_) => "interval",
        ParameterValue::DbNull => "db-null",
    }
}
