//! The databases that something is measured on.

use std::path::Path;

use cadenza::entropy::Entropy;
use sea_orm::ConnectionTrait;

/// New ones, with their names: a file in this folder and, where `TEST_POSTGRES_URL` names a server,
/// a database on it.
pub async fn databases(folder: &Path) -> Vec<(&'static str, String)> {
    let name = format!("bench_{}", Entropy::system().bits());
    let file = folder.join(format!("{name}.db"));
    let mut databases = vec![("SQLite", format!("sqlite://{}", file.display()))];
    if let Ok(base) = std::env::var("TEST_POSTGRES_URL") {
        let admin = sea_orm::Database::connect(&base)
            .await
            .expect("PostgreSQL answers");
        admin
            .execute_unprepared(&format!("CREATE DATABASE {name}"))
            .await
            .expect("a database");
        let (server, _) = base.rsplit_once('/').expect("a URL with a database");
        databases.push(("PostgreSQL", format!("{server}/{name}")));
    }
    databases
}
