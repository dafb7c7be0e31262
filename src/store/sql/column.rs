//! A column of values as the text of a PostgreSQL array.
//!
//! As text, because an array of sea-orm's own cannot hold a NULL.

use sea_orm::Value;

/// A column of values.
pub(super) struct Column {
    /// The type of its values, as PostgreSQL calls it.
    pub of: &'static str,
    /// The array: `{1,NULL,3}`.
    pub text: String,
}

impl Column {
    /// The values, whose type is the first one's.
    pub(super) fn of(values: impl IntoIterator<Item = Value>) -> Self {
        let mut of = None;
        let mut text = String::from("{");
        for value in values {
            if of.is_some() {
                text.push(',');
            }
            of = of.or(Some(type_of(&value)));
            push(&mut text, value);
        }
        text.push('}');
        Self {
            of: of.unwrap_or("text"),
            text,
        }
    }
}

/// What PostgreSQL calls the type of a value.
pub(super) const fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Uuid(_) => "uuid",
        Value::BigInt(_) => "bigint",
        Value::Int(_) => "integer",
        Value::SmallInt(_) => "smallint",
        Value::Bool(_) => "boolean",
        Value::Double(_) => "double precision",
        Value::Json(_) => "jsonb",
        _ => "text",
    }
}

fn push(text: &mut String, value: Value) {
    match value {
        Value::Uuid(Some(id)) => {
            let mut letters = uuid::Uuid::encode_buffer();
            text.push_str(id.simple().encode_lower(&mut letters));
        }
        Value::BigInt(Some(number)) => text.push_str(&number.to_string()),
        Value::Int(Some(number)) => text.push_str(&number.to_string()),
        Value::SmallInt(Some(number)) => text.push_str(&number.to_string()),
        Value::Bool(Some(yes)) => text.push(if yes { 't' } else { 'f' }),
        Value::Double(Some(number)) => text.push_str(&number.to_string()),
        Value::Json(Some(json)) => push_quoted(text, &json.to_string()),
        Value::String(Some(words)) => push_quoted(text, &words),
        Value::Uuid(None)
        | Value::BigInt(None)
        | Value::Int(None)
        | Value::SmallInt(None)
        | Value::Bool(None)
        | Value::Double(None)
        | Value::Json(None)
        | Value::String(None) => text.push_str("NULL"),
        // No column has any other type; should one get it, PostgreSQL says that it does not fit.
        other => push_quoted(text, &other.to_string()),
    }
}

/// In an array's text (PostgreSQL manual §8.15.6), a quoted element escapes quotes and backslashes.
fn push_quoted(text: &mut String, words: &str) {
    text.push('"');
    let mut rest = words;
    while let Some(at) = memchr::memchr2(b'"', b'\\', rest.as_bytes()) {
        let (plain, special) = rest.split_at(at);
        text.push_str(plain);
        text.push('\\');
        text.push_str(special.get(..1).unwrap_or_default());
        rest = special.get(1..).unwrap_or_default();
    }
    text.push_str(rest);
    text.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_means_something_in_an_array_is_quoted() {
        let words = [
            "plain",
            "",
            "a \"word\"",
            "back\\slash",
            "{a,b}",
            "NULL",
            "żółw\n",
        ];
        let column = Column::of(
            words
                .map(Value::from)
                .into_iter()
                .chain([Value::String(None)]),
        );
        assert_eq!(column.of, "text");
        assert_eq!(
            column.text,
            "{\"plain\",\"\",\"a \\\"word\\\"\",\"back\\\\slash\",\"{a,b}\",\"NULL\",\"żółw\n\",NULL}"
        );
    }

    #[test]
    fn a_column_knows_its_type_though_it_begins_with_null() {
        let column = Column::of([Value::BigInt(None), Value::from(7_i64)]);
        assert_eq!((column.of, column.text.as_str()), ("bigint", "{NULL,7}"));
        assert_eq!(Column::of([]).text, "{}");
    }
}
