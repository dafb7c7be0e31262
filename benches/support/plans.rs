//! How the databases carry statements out.

use cadenza::store::Db;
use cadenza::store::sql::{self, Arguments};
use sea_orm::ConnectionTrait;

/// A table with so many rows is large.
const LARGE_FROM: usize = 100_000;

/// Prints how the database carries the statements out, and ends where it goes through all of one of these
/// tables, which have so many rows.
pub async fn tell(name: &str, db: &Db, (tables, rows): (&[&str], usize), statements: Vec<String>) {
    let mut scans = Vec::new();
    for text in statements {
        if !text.trim_start().starts_with("SELECT") && !text.trim_start().starts_with("WITH") {
            continue;
        }
        let lines = if db.is_shared() {
            explained_by_postgres(db, &text).await
        } else {
            explained_by_sqlite(db, &text).await
        };
        let shown: String = text
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" ")
            .chars()
            .take(140)
            .collect();
        println!("{name}: {shown}");
        for line in lines {
            println!("    {line}");
            if is_scan(tables, &line, &text) {
                scans.push(format!("{line}: {shown}"));
            }
        }
    }
    let told = scans.join("\n");
    // Of a small table PostgreSQL reads all: that is the least work.
    if rows < LARGE_FROM {
        println!("{name}: too few rows for the plans to count; it would read all of: [{told}]");
        return;
    }
    assert!(
        scans.is_empty(),
        "{name} goes through all of a large table:\n{told}"
    );
}

/// Whether a line of a plan says that all of a large table is read. SQLite names a table by its alias.
fn is_scan(tables: &[&str], line: &str, statement: &str) -> bool {
    tables.iter().any(|table| {
        if line.contains(&format!("Seq Scan on {table} ")) {
            return true;
        }
        let Some(scanned) = line.trim().strip_prefix("SCAN ") else {
            return false;
        };
        let scanned = scanned.split(' ').next().unwrap_or_default();
        scanned == *table
            || statement.contains(&format!("{table} AS {scanned}"))
            || statement.contains(&format!("{table} {scanned} "))
    })
}

async fn explained_by_sqlite(db: &Db, text: &str) -> Vec<String> {
    let explain = format!("EXPLAIN QUERY PLAN {text}");
    let rows = sql::rows(db.read(), &explain, Arguments::new())
        .await
        .expect("a plan");
    let line = |row: &sea_orm::QueryResult| row.try_get("", "detail").expect("a line");
    rows.iter().map(line).collect()
}

/// A plan for whatever arguments, as one is made for a statement that is run often. What clients ask is
/// planned for its own values, and so no worse.
async fn explained_by_postgres(db: &Db, text: &str) -> Vec<String> {
    let arguments = (1..)
        .take_while(|n| text.contains(&format!("${n}")))
        .count();
    let tx = db.begin().await.expect("begins");
    let prepare =
        format!("SET LOCAL plan_cache_mode = force_generic_plan; PREPARE explained AS {text}");
    tx.execute_unprepared(&prepare).await.expect(text);
    let explain = match arguments {
        0 => "EXPLAIN EXECUTE explained".to_owned(),
        _ => format!(
            "EXPLAIN EXECUTE explained ({})",
            vec!["NULL"; arguments].join(", ")
        ),
    };
    let rows = sql::rows(&tx, &explain, Arguments::new())
        .await
        .expect("a plan");
    let line = |row: &sea_orm::QueryResult| row.try_get("", "QUERY PLAN").expect("a line");
    let lines = rows.iter().map(line).collect();
    tx.execute_unprepared("DEALLOCATE explained")
        .await
        .expect("let go");
    tx.rollback().await.expect("ends");
    lines
}
