//! Conversions from Redis's replies.

use ::redis::{RedisError, Value};

use crate::wit::bindings::spin::redis::redis::{Error, RedisResult};

/// Whether Redis refused a command because the value is of another type.
pub(super) fn is_type_error(error: &RedisError) -> bool {
    error.code() == Some("WRONGTYPE")
        || error
            .detail()
            .is_some_and(|detail| detail.contains("not an integer or out of range"))
}

/// Appends a reply to the flat results of `execute`; nested ones follow each other.
///
/// # Errors
/// The reply is or contains an error, or is of a kind that the interface cannot express.
pub(super) fn flatten(value: Value, results: &mut Vec<RedisResult>) -> Result<(), Error> {
    match value {
        Value::Nil => results.push(RedisResult::Nil),
        Value::Int(number) => results.push(RedisResult::Int64(number)),
        Value::BulkString(bytes) => results.push(RedisResult::Binary(bytes)),
        Value::SimpleString(text) => results.push(RedisResult::Status(text)),
        Value::Okay => results.push(RedisResult::Status("OK".to_owned())),
        Value::Double(number) => results.push(RedisResult::Binary(number.to_string().into_bytes())),
        Value::Boolean(value) => results.push(RedisResult::Int64(value.into())),
        Value::VerbatimString { text, .. } => results.push(RedisResult::Binary(text.into_bytes())),
        Value::BigNumber(digits) => results.push(RedisResult::Binary(digits)),
        Value::Array(values) | Value::Set(values) => {
            values.into_iter().try_for_each(|value| flatten(value, results))?;
        }
        Value::Map(pairs) => {
            for (key, value) in pairs {
                flatten(key, results)?;
                flatten(value, results)?;
            }
        }
        Value::Attribute { data, .. } => flatten(*data, results)?,
        Value::ServerError(error) => {
            let error: RedisError = error.into();
            return Err(crate::stores::redis::Error::from(error).into());
        }
        _ => {
            let message = "this kind of reply cannot be expressed in this interface";
            return Err(Error::Other(message.to_owned()));
        }
    }
    Ok(())
}

/// The number in a reply.
///
/// # Errors
/// `type-error` for any other reply.
pub(super) fn integer(value: &Value) -> Result<i64, Error> {
    match value {
        Value::Int(number) => Ok(*number),
        _ => Err(Error::TypeError),
    }
}

/// The number in a reply that counts keys or members.
///
/// # Errors
/// `type-error` for any other reply.
pub(super) fn count(value: &Value) -> Result<u32, Error> {
    integer(value)?.try_into().map_err(|_| Error::TypeError)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nested_replies_become_flat() {
        let nested = Value::Array(vec![
            Value::Int(1),
            Value::Array(vec![Value::Nil, Value::BulkString(b"x".to_vec())]),
            Value::Map(vec![(Value::Okay, Value::Boolean(true))]),
        ]);
        let mut results = Vec::new();
        flatten(nested, &mut results).unwrap();
        assert_eq!(
            format!("{results:?}"),
            "[RedisResult::Int64(1), RedisResult::Nil, RedisResult::Binary([120]), RedisResult::Status(\"OK\"), \
             RedisResult::Int64(1)]"
        );
    }
}
