//! Where the database is, and reaching it.

use std::io::ErrorKind;
use std::os::unix::fs::OpenOptionsExt;
use std::time::Duration;

use clap::Args;
use tokio::time::{Instant, interval_at};

use super::Failure;
use crate::store::{Db, StoreError};

pub(super) const MIGRATE_EXAMPLES: &str = "\
`cadenza serve` does the same by itself at its start.

Example:
  cadenza migrate --database postgres://cadenza@db.example/cadenza";

/// The pauses between attempts to reach the database, first and longest.
const PAUSE_FIRST: Duration = Duration::from_millis(250);
const PAUSE_MOST: Duration = Duration::from_secs(5);

/// Which database.
#[derive(Debug, Clone, Args)]
pub struct DatabaseArgs {
    /// The database: sqlite://FILE, made if it is not there, or postgres://USER:PASSWORD@HOST/NAME
    #[arg(
        long,
        env = "CADENZA_DATABASE",
        default_value = "sqlite://cadenza.db",
        hide_env_values = true,
        value_name = "URL"
    )]
    pub database: String,
    /// For how long to try to reach the database
    #[arg(
        long,
        env = "CADENZA_CONNECT_SECONDS",
        default_value_t = 30,
        value_name = "SECONDS"
    )]
    pub connect_seconds: u64,
}

/// The database cannot be reached or used.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unreachable {
    #[error(
        "the database {url} could not be reached within {seconds} s; check that it runs and that --database is right"
    )]
    Late {
        url: String,
        seconds: u64,
        #[source]
        source: StoreError,
    },
    #[error("the database {url} cannot be used")]
    Unusable {
        url: String,
        #[source]
        source: StoreError,
    },
}

impl DatabaseArgs {
    /// The URL without its password.
    pub fn shown(&self) -> String {
        match url::Url::parse(&self.database) {
            Ok(mut url) if url.password().is_some() => {
                // Only a URL without a host refuses a password, and this one had one.
                if url.set_password(Some("***")).is_err() {
                    return "(hidden)".into();
                }
                url.to_string()
            }
            Ok(_) | Err(_) => self.database.clone(),
        }
    }

    /// The file of a SQLite database; `None` for others and for a database in memory.
    pub fn sqlite_file(&self) -> Option<std::path::PathBuf> {
        let rest = self.database.strip_prefix("sqlite:")?;
        let rest = rest.strip_prefix("//").unwrap_or(rest);
        let path = rest.split('?').next().unwrap_or(rest);
        (!path.is_empty() && path != ":memory:").then(|| path.into())
    }

    /// Opens the database, trying again with growing pauses while it cannot be reached.
    ///
    /// # Errors
    /// Where it was not reached in time or is not one that can be used.
    pub(super) async fn connect(&self) -> Result<Db, Unreachable> {
        self.make_file()?;
        let deadline = Instant::now() + Duration::from_secs(self.connect_seconds);
        let mut pause = PAUSE_FIRST;
        loop {
            let left = deadline
                .saturating_duration_since(Instant::now())
                .max(PAUSE_FIRST);
            let error = match tokio::time::timeout(left, Db::connect(&self.database)).await {
                Ok(Ok(db)) => return Ok(db),
                Ok(Err(source @ StoreError::Unusable(_))) => {
                    return Err(Unreachable::Unusable {
                        url: self.shown(),
                        source,
                    });
                }
                Ok(Err(error)) => error,
                Err(_) => StoreError::Unusable("it does not answer".into()),
            };
            if Instant::now() + pause >= deadline {
                return Err(Unreachable::Late {
                    url: self.shown(),
                    seconds: self.connect_seconds,
                    source: error,
                });
            }
            tracing::warn!(
                database = self.shown(),
                error = &error as &dyn std::error::Error,
                "the database cannot be reached; trying again"
            );
            interval_at(Instant::now() + pause, pause).tick().await;
            pause = (pause * 2).min(PAUSE_MOST);
        }
    }

    /// Makes the file of a SQLite database that is not there yet, for its owner's eyes alone: it holds
    /// people and what is written to them.
    fn make_file(&self) -> Result<(), Unreachable> {
        let Some(file) = self.sqlite_file() else {
            return Ok(());
        };
        let mut options = std::fs::OpenOptions::new();
        let made = options.write(true).create_new(true).mode(0o600).open(&file);
        match made.map_err(|error| error.kind()) {
            Ok(_) | Err(ErrorKind::AlreadyExists) => Ok(()),
            Err(ErrorKind::NotFound) => Err(Unreachable::Unusable {
                url: self.shown(),
                source: StoreError::Unusable("its folder is not there: make it first".into()),
            }),
            // What else is wrong with it is told by whoever opens it.
            Err(_) => Ok(()),
        }
    }

    /// Opens the database and brings its schema up to date.
    ///
    /// # Errors
    /// Where it was not reached in time or cannot be migrated.
    pub(super) async fn open(&self) -> Result<Db, Unreachable> {
        let db = self.connect().await?;
        let migrated = db.migrate().await;
        migrated.map_err(|source| Unreachable::Unusable {
            url: self.shown(),
            source,
        })?;
        Ok(db)
    }
}

pub(super) async fn migrate(arguments: DatabaseArgs) -> Result<(), Failure> {
    let db = arguments.open().await?;
    db.close().await?;
    eprintln!("the database {} is up to date", arguments.shown());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(database: &str) -> DatabaseArgs {
        DatabaseArgs {
            database: database.into(),
            connect_seconds: 1,
        }
    }

    #[test]
    fn passwords_are_not_shown() {
        assert_eq!(
            of("postgres://ann:s3cret@db/x").shown(),
            "postgres://ann:***@db/x"
        );
        assert_eq!(of("postgres://ann@db/x").shown(), "postgres://ann@db/x");
    }

    #[tokio::test]
    async fn a_new_file_is_its_owners_alone() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("new.db");
        let made = of(&format!("sqlite://{}", file.display()));
        let db = made.open().await.expect("it opens");
        db.close().await.expect("it closes");
        let mode = std::fs::metadata(&file)
            .expect("a file")
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
        let nowhere = folder.path().join("none/new.db");
        let refused = of(&format!("sqlite://{}", nowhere.display())).open().await;
        let Err(Unreachable::Unusable { source, .. }) = refused else {
            panic!("there is no folder");
        };
        assert!(source.to_string().contains("folder"), "{source}");
    }

    #[test]
    fn the_file_of_a_database_is_known() {
        let file = |url: &str| of(url).sqlite_file().map(|path| path.display().to_string());
        assert_eq!(file("sqlite://cadenza.db").as_deref(), Some("cadenza.db"));
        assert_eq!(
            file("sqlite:///var/x.db?mode=rwc").as_deref(),
            Some("/var/x.db")
        );
        assert_eq!(file("sqlite::memory:"), None);
        assert_eq!(file("postgres://db/x"), None);
    }
}
