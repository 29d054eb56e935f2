use bytes::BytesMut;
use tokio_postgres::types::{FromSql as _, Type};

use super::{
    decimal::Decimal,
    parameter::{Written, write},
    value::read,
};
use crate::wit::bindings::spin::postgres::postgres::{self as wit, DbValue, ParameterValue, RangeBoundKind};

fn written(value: &ParameterValue, ty: &Type) -> Result<BytesMut, String> {
    let mut out = BytesMut::new();
    match write(value, ty, &mut out) {
        Ok(Written::Yes) => Ok(out),
        Ok(Written::Null) => Err("null".to_owned()),
        Ok(Written::WrongType) => Err("type".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

#[test]
fn decimals_round_trip() {
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
fn an_impossible_value_is_refused() {
    let cases = [
        (
            ParameterValue::Decimal("12x".to_owned()),
            Type::NUMERIC,
            "not a decimal number",
        ),
        (
            ParameterValue::Decimal(String::new()),
            Type::NUMERIC,
            "not a decimal number",
        ),
        (
            ParameterValue::Decimal("-".to_owned()),
            Type::NUMERIC,
            "not a decimal number",
        ),
        (
            ParameterValue::Decimal("1e5".to_owned()),
            Type::NUMERIC,
            "not a decimal number",
        ),
        (
            ParameterValue::Decimal("٣".to_owned()),
            Type::NUMERIC,
            "not a decimal number",
        ),
        (
            ParameterValue::Decimal("1".repeat(131_073)),
            Type::NUMERIC,
            "too many digits",
        ),
        (ParameterValue::Uuid("nope".to_owned()), Type::UUID, "invalid"),
        (ParameterValue::Date((2026, 2, 30)), Type::DATE, "no date 2026-02-30"),
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
fn values_round_trip() {
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
