//! Values between the WIT types and PostgreSQL's binary format. The pairs of types are Spin's, so that a component that
//! works here works there. Decimals are read and written digit by digit: `numeric` is longer than any decimal type.

use std::error::Error as StdError;

use bytes::{Buf as _, BufMut as _, BytesMut};
use chrono::{DateTime, Datelike as _, NaiveDate, NaiveDateTime, NaiveTime, Timelike as _, Utc};
use postgres_protocol::types::{self as wire, Range, RangeBound};
use tokio_postgres::{
    Column, Row, Statement,
    types::{FromSql, IsNull, ToSql, Type},
};
use uuid::Uuid;

use crate::bindings::spin::postgres::postgres::{
    self as wit, DbDataType, DbValue, Error, ParameterValue, RangeBoundKind,
};

type Fallible<T> = Result<T, Box<dyn StdError + Sync + Send>>;

/// The columns of a statement's result.
pub(super) fn columns(columns: &[Column]) -> Vec<wit::Column> {
    let column = |column: &Column| wit::Column {
        name: column.name().to_owned(),
        data_type: data_type(column.type_()),
    };
    columns.iter().map(column).collect()
}

fn data_type(ty: &Type) -> DbDataType {
    match *ty {
        Type::BOOL => DbDataType::Boolean,
        Type::INT2 => DbDataType::Int16,
        Type::INT4 => DbDataType::Int32,
        Type::INT8 => DbDataType::Int64,
        Type::FLOAT4 => DbDataType::Floating32,
        Type::FLOAT8 => DbDataType::Floating64,
        Type::TEXT | Type::VARCHAR | Type::BPCHAR => DbDataType::Str,
        Type::BYTEA => DbDataType::Binary,
        Type::DATE => DbDataType::Date,
        Type::TIME => DbDataType::Time,
        Type::TIMESTAMP | Type::TIMESTAMPTZ => DbDataType::Datetime,
        Type::UUID => DbDataType::Uuid,
        Type::JSONB => DbDataType::Jsonb,
        Type::NUMERIC => DbDataType::Decimal,
        Type::INT4_RANGE => DbDataType::RangeInt32,
        Type::INT8_RANGE => DbDataType::RangeInt64,
        Type::NUM_RANGE => DbDataType::RangeDecimal,
        Type::INT4_ARRAY => DbDataType::ArrayInt32,
        Type::INT8_ARRAY => DbDataType::ArrayInt64,
        Type::NUMERIC_ARRAY => DbDataType::ArrayDecimal,
        Type::TEXT_ARRAY | Type::VARCHAR_ARRAY | Type::BPCHAR_ARRAY => DbDataType::ArrayStr,
        Type::INTERVAL => DbDataType::Interval,
        _ => DbDataType::Other(ty.name().to_owned()),
    }
}

/// The values of a row.
pub(super) fn row(row: &Row) -> Result<Vec<DbValue>, Error> {
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

/// A value as it is read.
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

fn read(ty: &Type, raw: &[u8]) -> Fallible<DbValue> {
    Ok(match *ty {
        Type::BOOL => DbValue::Boolean(FromSql::from_sql(ty, raw)?),
        Type::INT2 => DbValue::Int16(FromSql::from_sql(ty, raw)?),
        Type::INT4 => DbValue::Int32(FromSql::from_sql(ty, raw)?),
        Type::INT8 => DbValue::Int64(FromSql::from_sql(ty, raw)?),
        Type::FLOAT4 => DbValue::Floating32(FromSql::from_sql(ty, raw)?),
        Type::FLOAT8 => DbValue::Floating64(FromSql::from_sql(ty, raw)?),
        Type::TEXT | Type::VARCHAR | Type::BPCHAR => DbValue::Str(FromSql::from_sql(ty, raw)?),
        Type::BYTEA => DbValue::Binary(raw.to_vec()),
        Type::DATE => DbValue::Date(from_date(FromSql::from_sql(ty, raw)?)?),
        Type::TIME => {
            let time: NaiveTime = FromSql::from_sql(ty, raw)?;
            DbValue::Time((
                time.hour() as u8,
                time.minute() as u8,
                time.second() as u8,
                time.nanosecond(),
            ))
        }
        Type::TIMESTAMP => DbValue::Datetime(from_datetime(FromSql::from_sql(ty, raw)?)?),
        Type::TIMESTAMPTZ => {
            let instant: DateTime<Utc> = FromSql::from_sql(ty, raw)?;
            DbValue::Datetime(from_datetime(instant.naive_utc())?)
        }
        Type::UUID => DbValue::Uuid(Uuid::from_sql(ty, raw)?.to_string()),
        // The first byte is the version of the format, of which there is one.
        Type::JSONB => DbValue::Jsonb(raw.get(1..).unwrap_or_default().to_vec()),
        Type::NUMERIC => DbValue::Decimal(Decimal::from_sql(ty, raw)?.0),
        Type::INT4_RANGE => DbValue::RangeInt32(read_range(raw, &Type::INT4)?),
        Type::INT8_RANGE => DbValue::RangeInt64(read_range(raw, &Type::INT8)?),
        Type::NUM_RANGE => {
            let (lower, upper) = read_range::<Decimal>(raw, &Type::NUMERIC)?;
            DbValue::RangeDecimal((lower.map(|(v, kind)| (v.0, kind)), upper.map(|(v, kind)| (v.0, kind))))
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
        Type::INTERVAL => {
            let mut raw = raw;
            DbValue::Interval(wit::Interval {
                micros: raw.try_get_i64()?,
                days: raw.try_get_i32()?,
                months: raw.try_get_i32()?,
            })
        }
        _ => DbValue::Unsupported(raw.to_vec()),
    })
}

fn from_date(date: NaiveDate) -> Fallible<(i32, u8, u8)> {
    Ok((date.year(), date.month() as u8, date.day() as u8))
}

fn from_datetime(datetime: NaiveDateTime) -> Fallible<(i32, u8, u8, u8, u8, u8, u32)> {
    let (year, month, day) = from_date(datetime.date())?;
    let time = datetime.time();
    Ok((
        year,
        month,
        day,
        time.hour() as u8,
        time.minute() as u8,
        time.second() as u8,
        time.nanosecond(),
    ))
}

type Bounds<T> = (Option<(T, RangeBoundKind)>, Option<(T, RangeBoundKind)>);

/// The WIT type has no empty range, and one without bounds would be another value: that is an error.
fn read_range<T: for<'a> FromSql<'a>>(raw: &[u8], ty: &Type) -> Fallible<Bounds<T>> {
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
        Range::Empty => Err("an empty range has no value in this interface".into()),
        Range::Nonempty(lower, upper) => Ok((bound(lower)?, bound(upper)?)),
    }
}

/// A parameter in PostgreSQL's format; `None` is null.
#[derive(Debug)]
pub(super) struct Parameter(Option<BytesMut>);

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

/// Writes the parameters of a statement as the types that it takes.
///
/// # Errors
/// `bad-parameter` for a wrong number or type, `value-conversion-failed` for a value that its own type does not have.
pub(super) fn parameters(statement: &Statement, values: &[ParameterValue]) -> Result<Vec<Parameter>, Error> {
    let types = statement.params();
    if types.len() != values.len() {
        let message = format!("the statement takes {} parameters, not {}", types.len(), values.len());
        return Err(Error::BadParameter(message));
    }
    let parameter = |(index, (value, ty)): (usize, (&ParameterValue, &Type))| {
        let mut bytes = BytesMut::new();
        let failed = |error| Error::ValueConversionFailed(format!("parameter ${}: {error}", index + 1));
        match write(value, ty, &mut bytes).map_err(failed)? {
            Written::Yes => Ok(Parameter(Some(bytes))),
            Written::Null => Ok(Parameter(None)),
            Written::NotOfThisType => Err(Error::BadParameter(format!(
                "parameter ${} is of the type {ty}, but the value is {}",
                index + 1,
                kind(value)
            ))),
        }
    };
    values.iter().zip(types).enumerate().map(parameter).collect()
}

enum Written {
    Yes,
    Null,
    NotOfThisType,
}

fn write(value: &ParameterValue, ty: &Type, out: &mut BytesMut) -> Fallible<Written> {
    fn put<T: ToSql>(value: T, ty: &Type, out: &mut BytesMut) -> Fallible<Written> {
        if !T::accepts(ty) {
            return Ok(Written::NotOfThisType);
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
        ParameterValue::Date(value) => put(to_date(*value)?, ty, out),
        ParameterValue::Time((hour, minute, second, nano)) => put(to_time(*hour, *minute, *second, *nano)?, ty, out),
        ParameterValue::Datetime((year, month, day, hour, minute, second, nano)) => {
            let datetime = to_date((*year, *month, *day))?.and_time(to_time(*hour, *minute, *second, *nano)?);
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
                _ => return Ok(Written::NotOfThisType),
            }
            out.extend_from_slice(value);
            Ok(Written::Yes)
        }
        ParameterValue::Decimal(value) => put(Decimal(value.clone()), ty, out),
        ParameterValue::RangeInt32((lower, upper)) if *ty == Type::INT4_RANGE => {
            write_range(lower.as_ref(), upper.as_ref(), &Type::INT4, out)
        }
        ParameterValue::RangeInt64((lower, upper)) if *ty == Type::INT8_RANGE => {
            write_range(lower.as_ref(), upper.as_ref(), &Type::INT8, out)
        }
        ParameterValue::RangeDecimal((lower, upper)) if *ty == Type::NUM_RANGE => {
            let decimal = |(text, kind): &(String, _)| (Decimal(text.clone()), *kind);
            let (lower, upper) = (lower.as_ref().map(decimal), upper.as_ref().map(decimal));
            write_range(lower.as_ref(), upper.as_ref(), &Type::NUMERIC, out)
        }
        ParameterValue::RangeInt32(_) | ParameterValue::RangeInt64(_) | ParameterValue::RangeDecimal(_) => {
            Ok(Written::NotOfThisType)
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
                return Ok(Written::NotOfThisType);
            }
            out.put_i64(value.micros);
            out.put_i32(value.days);
            out.put_i32(value.months);
            Ok(Written::Yes)
        }
    }
}

/// The WIT name of a value's type.
fn kind(value: &ParameterValue) -> &'static str {
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

fn to_date((year, month, day): (i32, u8, u8)) -> Fallible<NaiveDate> {
    let date = NaiveDate::from_ymd_opt(year, month.into(), day.into());
    date.ok_or_else(|| format!("there is no day {year}-{month:02}-{day:02}").into())
}

fn to_time(hour: u8, minute: u8, second: u8, nano: u32) -> Fallible<NaiveTime> {
    let time = NaiveTime::from_hms_nano_opt(hour.into(), minute.into(), second.into(), nano);
    time.ok_or_else(|| format!("there is no time {hour:02}:{minute:02}:{second:02} and {nano} ns").into())
}

fn write_range<T: ToSql>(
    lower: Option<&(T, RangeBoundKind)>,
    upper: Option<&(T, RangeBoundKind)>,
    ty: &Type,
    out: &mut BytesMut,
) -> Fallible<Written> {
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
    wire::range_to_sql(|out| bound(lower, out), |out| bound(upper, out), out)?;
    Ok(Written::Yes)
}

/// A `numeric` as its decimal text.
#[derive(Debug)]
struct Decimal(String);

/// PostgreSQL's `numeric` on the wire: groups of four digits, the first of which counts 10000^weight.
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
            return Err(format!("\"{}\" is no decimal number", self.0).into());
        }
        let whole = whole.trim_start_matches('0');
        // The bounds of `numeric` itself, https://www.postgresql.org/docs/current/datatype-numeric.html
        if whole.len() > 131_072 || fraction.len() > 16_383 {
            return Err("the decimal number has too many digits".into());
        }
        let lead = whole.len().next_multiple_of(GROUP) - whole.len();
        let tail = fraction.len().next_multiple_of(GROUP) - fraction.len();
        let digits = ["0".repeat(lead).as_str(), whole, fraction, "0".repeat(tail).as_str()].concat();
        let group = |digits: &[u8]| {
            digits
                .iter()
                .fold(0, |value, digit| value * 10 + u16::from(digit - b'0'))
        };
        let groups: Vec<u16> = digits.as_bytes().chunks(GROUP).map(group).collect();

        let zeros = groups.iter().take_while(|group| **group == 0).count();
        let used = groups.len() - groups.iter().rev().take_while(|group| **group == 0).count();
        let groups = groups.get(zeros..used).unwrap_or_default();
        let weight = whole.len().div_ceil(GROUP) as i32 - 1 - zeros as i32;
        out.put_u16(groups.len() as u16);
        out.put_i16(if groups.is_empty() { 0 } else { weight as i16 });
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

/// How much memory a value takes, roughly.
pub(super) fn size(value: &DbValue) -> usize {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn written(value: &ParameterValue, ty: &Type) -> Result<BytesMut, String> {
        let mut out = BytesMut::new();
        match write(value, ty, &mut out) {
            Ok(Written::Yes) => Ok(out),
            Ok(Written::Null) => Err("null".to_owned()),
            Ok(Written::NotOfThisType) => Err("type".to_owned()),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn decimals_come_back_as_they_went() {
        for text in [
            "0",
            "0.00",
            "1",
            "-1",
            "45000.00",
            "9999",
            "10000",
            "10001",
            "0.0001",
            "-0.00012300",
            "0.00001",
            "12345678.9",
            "99999999.99",
            "100000000000000000000000000000000000000000.5",
            "1000000000000",
            "20000000000000.0000000000001",
        ] {
            let raw = written(&ParameterValue::Decimal(text.to_owned()), &Type::NUMERIC).unwrap();
            assert_eq!(Decimal::from_sql(&Type::NUMERIC, &raw).unwrap().0, text);
        }
        for (text, expected) in [
            ("-0", "0"),
            ("+7", "7"),
            ("007.10", "7.10"),
            (".5", "0.5"),
            ("5.", "5"),
            ("nan", "NaN"),
        ] {
            let raw = written(&ParameterValue::Decimal(text.to_owned()), &Type::NUMERIC).unwrap();
            assert_eq!(Decimal::from_sql(&Type::NUMERIC, &raw).unwrap().0, expected);
        }
    }

    #[test]
    fn decimals_are_as_postgresql_sends_them() {
        // select numeric_send(12345.678), numeric_send(-0.0001), numeric_send(100000000)
        for (text, expected) in [
            ("12345.678", vec![0, 3, 0, 1, 0, 0, 0, 3, 0, 1, 0x09, 0x29, 0x1a, 0x7c]),
            ("-0.0001", vec![0, 1, 0xff, 0xff, 0x40, 0, 0, 4, 0, 1]),
            ("100000000", vec![0, 1, 0, 2, 0, 0, 0, 0, 0, 1]),
            ("0.00", vec![0, 0, 0, 0, 0, 0, 0, 2]),
        ] {
            let raw = written(&ParameterValue::Decimal(text.to_owned()), &Type::NUMERIC).unwrap();
            assert_eq!(raw.to_vec(), expected, "{text}");
        }
    }

    #[test]
    fn a_value_that_its_type_does_not_have_is_refused() {
        let cases = [
            (
                ParameterValue::Decimal("12x".to_owned()),
                Type::NUMERIC,
                "no decimal number",
            ),
            (
                ParameterValue::Decimal(String::new()),
                Type::NUMERIC,
                "no decimal number",
            ),
            (
                ParameterValue::Decimal("-".to_owned()),
                Type::NUMERIC,
                "no decimal number",
            ),
            (
                ParameterValue::Decimal("1e5".to_owned()),
                Type::NUMERIC,
                "no decimal number",
            ),
            (
                ParameterValue::Decimal("٣".to_owned()),
                Type::NUMERIC,
                "no decimal number",
            ),
            (
                ParameterValue::Decimal("1".repeat(131_073)),
                Type::NUMERIC,
                "too many digits",
            ),
            (ParameterValue::Uuid("nope".to_owned()), Type::UUID, "invalid"),
            (ParameterValue::Date((2026, 2, 30)), Type::DATE, "no day 2026-02-30"),
            (ParameterValue::Time((24, 0, 0, 0)), Type::TIME, "no time 24:00:00"),
            (ParameterValue::Timestamp(i64::MAX), Type::TIMESTAMPTZ, "out of range"),
        ];
        for (value, ty, expected) in cases {
            let error = written(&value, &ty).expect_err(expected);
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn a_value_of_another_type_is_refused() {
        let cases = [
            (ParameterValue::Int32(1), Type::INT8),
            (ParameterValue::Int64(1), Type::INT4),
            (ParameterValue::Str("1".to_owned()), Type::INT4),
            (ParameterValue::Boolean(true), Type::TEXT),
            (ParameterValue::Decimal("1".to_owned()), Type::TEXT),
            (ParameterValue::Jsonb(vec![b'1']), Type::TEXT),
            (ParameterValue::RangeInt32((None, None)), Type::INT8_RANGE),
            (ParameterValue::ArrayDecimal(vec![]), Type::TEXT_ARRAY),
            (
                ParameterValue::Interval(wit::Interval {
                    micros: 0,
                    days: 0,
                    months: 0,
                }),
                Type::TIME,
            ),
            (ParameterValue::Timestamp(0), Type::TIMESTAMP),
        ];
        for (value, ty) in cases {
            assert_eq!(written(&value, &ty).unwrap_err(), "type", "{value:?} as {ty}");
        }
        assert_eq!(written(&ParameterValue::DbNull, &Type::INT8).unwrap_err(), "null");
    }

    #[test]
    fn values_come_back_as_they_went() {
        use RangeBoundKind::{Exclusive, Inclusive};
        let cases = [
            (ParameterValue::Boolean(true), Type::BOOL, DbValue::Boolean(true)),
            (ParameterValue::Int64(i64::MIN), Type::INT8, DbValue::Int64(i64::MIN)),
            (
                ParameterValue::Str("가나".to_owned()),
                Type::VARCHAR,
                DbValue::Str("가나".to_owned()),
            ),
            (
                ParameterValue::Binary(vec![0, 255]),
                Type::BYTEA,
                DbValue::Binary(vec![0, 255]),
            ),
            (
                ParameterValue::Date((1999, 12, 31)),
                Type::DATE,
                DbValue::Date((1999, 12, 31)),
            ),
            (
                ParameterValue::Time((23, 59, 58, 7000)),
                Type::TIME,
                DbValue::Time((23, 59, 58, 7000)),
            ),
            (
                ParameterValue::Datetime((2026, 1, 2, 3, 4, 5, 6000)),
                Type::TIMESTAMPTZ,
                DbValue::Datetime((2026, 1, 2, 3, 4, 5, 6000)),
            ),
            (
                ParameterValue::Jsonb(b"{}".to_vec()),
                Type::JSONB,
                DbValue::Jsonb(b"{}".to_vec()),
            ),
            (
                ParameterValue::RangeInt32((Some((1, Inclusive)), Some((5, Exclusive)))),
                Type::INT4_RANGE,
                DbValue::RangeInt32((Some((1, Inclusive)), Some((5, Exclusive)))),
            ),
            (
                ParameterValue::RangeDecimal((Some(("1.50".to_owned(), Exclusive)), None)),
                Type::NUM_RANGE,
                DbValue::RangeDecimal((Some(("1.50".to_owned(), Exclusive)), None)),
            ),
            (
                ParameterValue::ArrayInt32(vec![Some(1), None]),
                Type::INT4_ARRAY,
                DbValue::ArrayInt32(vec![Some(1), None]),
            ),
            (
                ParameterValue::ArrayDecimal(vec![Some("1.10".to_owned()), None]),
                Type::NUMERIC_ARRAY,
                DbValue::ArrayDecimal(vec![Some("1.10".to_owned()), None]),
            ),
        ];
        for (value, ty, expected) in cases {
            let raw = written(&value, &ty).unwrap();
            assert_eq!(
                format!("{:?}", read(&ty, &raw).unwrap()),
                format!("{expected:?}"),
                "{ty}"
            );
        }
        assert!(
            read(&Type::INT4_RANGE, &[1])
                .unwrap_err()
                .to_string()
                .contains("empty range")
        );
        assert!(matches!(read(&Type::NAME, b"x").unwrap(), DbValue::Unsupported(_)));
    }
}
