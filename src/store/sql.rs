//! Hand-written statements: numbered arguments that both databases understand, many rows at once.
//!
//! Arguments are always bound, never written into the text. A statement that changes many rows
//! gets them as a table: `WITH v (id, due_at) AS (VALUES ($1, $2), ($3, $4)) UPDATE …`.

mod column;

use sea_orm::{ConnectionTrait, DbErr, FromQueryResult, QueryResult, RuntimeErr, Statement, Value};
use uuid::Uuid;

use self::column::Column;
use super::{Result, dialect};

/// The arguments of a statement, numbered from 1 in the order in which they are added.
#[derive(Default, Debug, Clone)]
pub struct Arguments(Vec<Value>);

impl Arguments {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds one and answers its placeholder: `$3`.
    pub fn add(&mut self, value: impl Into<Value>) -> String {
        self.0.push(value.into());
        format!("${}", self.0.len())
    }

    /// The same arguments and one more.
    #[must_use]
    pub fn with(mut self, value: impl Into<Value>) -> Self {
        self.0.push(value.into());
        self
    }

    /// Adds many and answers their placeholders, with commas, for an IN; `NULL` for none, so that
    /// `IN (NULL)` matches nothing. For lists that people write, which are short; for long ones
    /// there is [`Self::among`].
    pub fn list<T: Into<Value>>(&mut self, values: impl IntoIterator<Item = T>) -> String {
        let placeholders: Vec<String> = values.into_iter().map(|value| self.add(value)).collect();
        if placeholders.is_empty() {
            "NULL".into()
        } else {
            placeholders.join(", ")
        }
    }

    /// Adds many ids and answers the condition that a column is one of them, which follows the
    /// column's name: `IN ($1, $2)` or `= ANY(…)`. PostgreSQL reads the array in a query of its own,
    /// once: where rows are filtered by it, it would else be read anew from its text for each row.
    pub fn among(
        &mut self,
        connection: &impl ConnectionTrait,
        ids: impl IntoIterator<Item = Uuid>,
    ) -> String {
        if dialect::binds_columns(connection.get_database_backend()) {
            let column = Column::of(ids.into_iter().map(Value::from));
            let array = self.add(column.text);
            return format!("= ANY((SELECT {array}::uuid[])::uuid[])");
        }
        let mut ids: Vec<Uuid> = ids.into_iter().collect();
        if let Some(last) = ids.last().copied() {
            ids.resize(round_up(ids.len()), last);
        }
        format!("IN ({})", self.list(ids))
    }

    /// Adds rows and answers the query that they are the answer of, to insert from or to name by
    /// `WITH v (id, due_at) AS (…)`. There must be at least one, a column has one type, and no row has
    /// NULL in the first column.
    ///
    /// What all rows have in common is bound once: most columns of most statements. Of the rest SQLite
    /// gets VALUES, filled up with empty rows, so that a few texts of the statement serve any number of
    /// rows. PostgreSQL gets each column as one array: parsing and planning a VALUES of ten thousand
    /// parameters costs it more than the rows do.
    pub fn table<const N: usize>(
        &mut self,
        connection: &impl ConnectionTrait,
        rows: impl IntoIterator<Item = [Value; N]>,
    ) -> String {
        let mut columns: [Vec<Value>; N] = std::array::from_fn(|_| Vec::new());
        for row in rows {
            for (column, value) in columns.iter_mut().zip(row) {
                column.push(value);
            }
        }
        let mut selected = Vec::with_capacity(N);
        let mut varying = Vec::with_capacity(N);
        let backend = connection.get_database_backend();
        let binds_columns = dialect::binds_columns(backend);
        for (index, mut values) in columns.into_iter().enumerate() {
            if index > 0 && values.windows(2).all(|pair| pair.first() == pair.last()) {
                let Some(value) = values.pop() else { continue };
                let of = column::type_of(&value);
                let place = self.add(value);
                selected.push(if binds_columns {
                    format!("{place}::{of}")
                } else {
                    place
                });
            } else {
                varying.push(values);
                let column = format!("t.column{}", varying.len());
                // A key looks its rows up. With some hundred rows SQLite would rather index the rows
                // given and read the whole table.
                selected.push(if index == 0 {
                    dialect::unindexed(backend, &column)
                } else {
                    column
                });
            }
        }
        let selected = selected.join(", ");
        if !binds_columns {
            let rows = self.rows(varying);
            return format!(
                "SELECT {selected} FROM (VALUES {rows}) AS t WHERE t.column1 IS NOT NULL"
            );
        }
        let names: Vec<String> = (1..=varying.len()).map(|n| format!("column{n}")).collect();
        let arrays: Vec<String> = varying
            .into_iter()
            .map(|values| self.column(Column::of(values)))
            .collect();
        format!(
            "SELECT {selected} FROM unnest({}) AS t ({})",
            arrays.join(", "),
            names.join(", ")
        )
    }

    fn column(&mut self, column: Column) -> String {
        format!("{}::{}[]", self.add(column.text), column.of)
    }

    /// The body of a VALUES with these columns: `($1, $2), ($3, $4)`, filled up with rows of NULL.
    fn rows(&mut self, columns: Vec<Vec<Value>>) -> String {
        let count = columns.first().map_or(0, Vec::len);
        let mut columns: Vec<_> = columns.into_iter().map(Vec::into_iter).collect();
        let mut text = String::new();
        for _ in 0..round_up(count) {
            text.push_str(if text.is_empty() { "(" } else { ", (" });
            for (index, column) in columns.iter_mut().enumerate() {
                if index > 0 {
                    text.push_str(", ");
                }
                self.0.push(column.next().unwrap_or(Value::String(None)));
                text.push('$');
                text.push_str(&self.0.len().to_string());
            }
            text.push(')');
        }
        text
    }
}

/// How many rows go into one statement at most.
const BATCH_MAX: usize = 512;

/// A power of two, or one and a half of one: the least that is not below `count`.
fn round_up(count: usize) -> usize {
    let above = count.next_power_of_two();
    let between = above / 4 * 3;
    if count <= between { between } else { above }
}

/// The items in pieces that fit one statement.
pub fn chunks<T>(items: &[T]) -> impl Iterator<Item = &[T]> {
    items.chunks(BATCH_MAX)
}

/// A condition on rows that are found by the key that they share with `key`, a column of another
/// table. Written so that nothing can look for rows by the condition itself: where the statistics lag
/// behind, PostgreSQL takes it for rarer than the keys, begins with all the rows that it holds for,
/// and compares each of them with each key (measured: 512 keys against 2,000 rows, 140 ms).
pub fn of_found(key: &str, condition: &str) -> String {
    format!("CASE WHEN {key} IS NOT NULL THEN {condition} END")
}

fn statement(connection: &impl ConnectionTrait, sql: &str, arguments: Arguments) -> Statement {
    let backend = connection.get_database_backend();
    if dialect::numbers_parameters(backend) {
        let values = arguments.0.into_iter().map(without_nul);
        return Statement::from_sql_and_values(backend, sql, values);
    }
    let (sql, values) = in_order(sql, arguments.0);
    Statement::from_sql_and_values(backend, sql, values)
}

/// PostgreSQL holds no NUL in a text and refuses the whole statement. Whoever writes one is told so
/// before; what is searched for matches nothing.
fn without_nul(value: Value) -> Value {
    match value {
        Value::String(Some(text)) if text.contains('\0') => text.replace('\0', "\u{fffd}").into(),
        other => other,
    }
}

/// Whether a text or a name in it holds a NUL, which PostgreSQL keeps in no JSON.
pub fn holds_nul(value: &serde_json::Value) -> bool {
    use serde_json::Value;
    match value {
        Value::String(text) => text.contains('\0'),
        Value::Array(values) => values.iter().any(holds_nul),
        Value::Object(entries) => entries
            .iter()
            .any(|(key, value)| key.contains('\0') || holds_nul(value)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

/// The statement with a plain `?` for every `$n`, and its arguments in the order of their use.
///
/// SQLite finds a numbered parameter by going through all of them, so that binding 7,000 of them
/// was measured to take 150 ms; unnumbered ones are bound as they come.
fn in_order(sql: &str, mut arguments: Vec<Value>) -> (String, Vec<Value>) {
    let mut text = String::with_capacity(sql.len());
    let mut order = Vec::with_capacity(arguments.len());
    let mut quoted = false;
    let mut letters = sql.chars().peekable();
    while let Some(letter) = letters.next() {
        quoted ^= letter == '\'';
        let mut number = 0_usize;
        if letter == '$' && !quoted {
            while let Some(digit) = letters.peek().and_then(|next| next.to_digit(10)) {
                number = number * 10 + usize::try_from(digit).unwrap_or(0);
                letters.next();
            }
        }
        match number.checked_sub(1).filter(|at| *at < arguments.len()) {
            Some(at) => {
                text.push('?');
                order.push(at);
            }
            None => text.push(letter),
        }
    }
    // Nearly always each is used once, in the order in which they were added.
    if order.iter().copied().eq(0..arguments.len()) {
        return (text, arguments);
    }
    let mut left = vec![0_u32; arguments.len()];
    for at in &order {
        left[*at] += 1;
    }
    let values = order.into_iter().map(|at| {
        left[at] -= 1;
        let argument = &mut arguments[at];
        if left[at] > 0 {
            argument.clone()
        } else {
            std::mem::replace(argument, Value::Bool(None))
        }
    });
    let values = values.collect();
    (text, values)
}

/// Runs a statement and answers how many rows it changed.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn execute(
    connection: &impl ConnectionTrait,
    sql: &str,
    arguments: Arguments,
) -> Result<u64> {
    let done = connection
        .execute_raw(statement(connection, sql, arguments))
        .await?;
    Ok(done.rows_affected())
}

/// Runs a statement and reads every row it answers.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn all<T: FromQueryResult>(
    connection: &impl ConnectionTrait,
    sql: &str,
    arguments: Arguments,
) -> Result<Vec<T>> {
    let rows = connection
        .query_all_raw(statement(connection, sql, arguments))
        .await?;
    Ok(rows
        .iter()
        .map(|row| T::from_query_result(row, ""))
        .collect::<Result<_, DbErr>>()?)
}

/// Runs a statement and answers its rows as they come.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn rows(
    connection: &impl ConnectionTrait,
    sql: &str,
    arguments: Arguments,
) -> Result<Vec<QueryResult>> {
    let statement = statement(connection, sql, arguments);
    Ok(connection.query_all_raw(statement).await?)
}

/// Runs a statement and reads its first row.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn one<T: FromQueryResult>(
    connection: &impl ConnectionTrait,
    sql: &str,
    arguments: Arguments,
) -> Result<Option<T>> {
    let row = connection
        .query_one_raw(statement(connection, sql, arguments))
        .await?;
    Ok(row.map(|row| T::from_query_result(&row, "")).transpose()?)
}

/// Runs a statement whose rows hold one id, called `id`.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn ids(
    connection: &impl ConnectionTrait,
    sql: &str,
    arguments: Arguments,
) -> Result<Vec<Uuid>> {
    let rows = connection
        .query_all_raw(statement(connection, sql, arguments))
        .await?;
    Ok(rows
        .iter()
        .map(|row| row.try_get("", "id"))
        .collect::<Result<_, DbErr>>()?)
}

/// Runs a statement that answers one number, called `n`; 0 where there is no row or it is NULL.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn number(
    connection: &impl ConnectionTrait,
    sql: &str,
    arguments: Arguments,
) -> Result<i64> {
    let row = connection
        .query_one_raw(statement(connection, sql, arguments))
        .await?;
    let number = row
        .map(|row: QueryResult| row.try_get::<Option<i64>>("", "n"))
        .transpose()?;
    Ok(number.flatten().unwrap_or(0))
}

/// An error of the driver where it is used directly.
pub(super) fn driver_error(error: sea_orm::sqlx::Error) -> super::StoreError {
    DbErr::Conn(RuntimeErr::SqlxError(error.into())).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padding_adds_at_most_half() {
        for count in 1..600_usize {
            let rounded = round_up(count);
            assert!(
                rounded >= count && rounded * 2 <= count * 3,
                "{count} {rounded}"
            );
        }
    }

    #[test]
    fn a_text_with_nul_becomes_one_that_nothing_equals() {
        assert_eq!(without_nul("a\0b".into()), Value::from("a\u{fffd}b"));
        assert_eq!(without_nul("ab".into()), Value::from("ab"));
        assert_eq!(without_nul(Value::String(None)), Value::String(None));
    }

    #[test]
    fn numbered_parameters_come_in_the_order_of_their_use() {
        let arguments: Vec<Value> = (1..=12_i64).map(Value::from).collect();
        let sql = "SELECT $2, '$1', json -> '$.\"a\"', $12 WHERE x = $2";
        let (text, values) = in_order(sql, arguments);
        assert_eq!(text, "SELECT ?, '$1', json -> '$.\"a\"', ? WHERE x = ?");
        assert_eq!(values, [2_i64, 12, 2].map(Value::from));
    }
}
