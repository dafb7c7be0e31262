//! Where the installation's secret key is, and making it at the first start.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::Args;

use super::DatabaseArgs;
use crate::entropy::Entropy;
use crate::secrets::{KEY_LEN, NotAKey, Secrets};

/// Which key seals passwords in the database and signs cursors.
#[derive(Clone, Args)]
pub struct KeyArgs {
    /// The secret key itself, 32 bytes in base64 or hexadecimal; better given as a file
    #[arg(
        long,
        env = "CADENZA_SECRET_KEY",
        hide_env_values = true,
        value_name = "KEY"
    )]
    secret_key: Option<String>,
    /// The file that holds the secret key; made at the first start if it is not there. Without it,
    /// beside a SQLite database (FILE.key), else cadenza.key in the working directory
    #[arg(
        long,
        env = "CADENZA_SECRET_KEY_FILE",
        value_name = "FILE",
        conflicts_with = "secret_key"
    )]
    secret_key_file: Option<PathBuf>,
}

impl std::fmt::Debug for KeyArgs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "KeyArgs(file: {:?})", self.secret_key_file)
    }
}

/// The key cannot be had.
#[derive(Debug, thiserror::Error)]
pub(super) enum KeyError {
    #[error("--secret-key (CADENZA_SECRET_KEY) is not a key")]
    Given(#[source] NotAKey),
    #[error(
        "the secret key file {file} is not there, and the database was used with a key (fingerprint {fingerprint}); put the file back, give its place with --secret-key-file, or give the key that is in it with --secret-key (CADENZA_SECRET_KEY)"
    )]
    Lost { file: String, fingerprint: String },
    #[error("{file} does not hold a key")]
    File {
        file: String,
        #[source]
        source: NotAKey,
    },
    #[error(
        "the secret key in {file} cannot be read or made; give another place with --secret-key-file"
    )]
    Unreadable {
        file: String,
        #[source]
        source: std::io::Error,
    },
}

impl KeyArgs {
    /// The keys, from wherever they are. A file that is not there is made with a new key, but not
    /// where the database is `bound` to a key already: a new one could open nothing in it.
    ///
    /// # Errors
    /// Where there is no key and none can be made.
    pub(super) fn load(
        &self,
        database: &DatabaseArgs,
        entropy: &Entropy,
        bound: Option<&str>,
    ) -> Result<Secrets, KeyError> {
        if let Some(text) = &self.secret_key {
            return Secrets::parse_key(text)
                .map(Secrets::from_key)
                .map_err(KeyError::Given);
        }
        let file = self.file(database);
        if let Some(fingerprint) = bound
            && !file.exists()
        {
            return Err(KeyError::Lost {
                file: file.display().to_string(),
                fingerprint: fingerprint.to_owned(),
            });
        }
        let text = read_or_make(&file, entropy).map_err(|source| KeyError::Unreadable {
            file: file.display().to_string(),
            source,
        })?;
        let key = Secrets::parse_key(&text).map_err(|source| KeyError::File {
            file: file.display().to_string(),
            source,
        })?;
        Ok(Secrets::from_key(key))
    }

    fn file(&self, database: &DatabaseArgs) -> PathBuf {
        if let Some(file) = &self.secret_key_file {
            return file.clone();
        }
        match database.sqlite_file() {
            Some(mut file) => {
                file.as_mut_os_string().push(".key");
                file
            }
            None => "cadenza.key".into(),
        }
    }
}

fn read_or_make(file: &Path, entropy: &Entropy) -> std::io::Result<String> {
    match std::fs::read_to_string(file) {
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        read => return read,
    }
    let mut key = [0; KEY_LEN];
    entropy.fill(&mut key);
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    match options.open(file) {
        Ok(mut made) => {
            let text = format!("{}\n", STANDARD.encode(key));
            made.write_all(text.as_bytes())?;
            made.sync_all()?;
            tracing::info!(file = %file.display(),
                "made a new secret key; keep a copy of it apart from the database's");
            Ok(text)
        }
        // Another process was faster: its key counts.
        Err(error) if error.kind() == ErrorKind::AlreadyExists => std::fs::read_to_string(file),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_made_once_and_for_its_owner_only() {
        let folder = tempfile::tempdir().expect("a folder");
        let url = format!("sqlite://{}/x.db", folder.path().display());
        let database = DatabaseArgs {
            database: url,
            connect_seconds: 1,
        };
        let arguments = KeyArgs {
            secret_key: None,
            secret_key_file: None,
        };
        let load = || {
            arguments
                .load(&database, &Entropy::system(), None)
                .expect("a key")
        };
        let first = load();
        assert_eq!(first.fingerprint(), load().fingerprint());
        let file = folder.path().join("x.db.key");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = std::fs::metadata(&file)
                .expect("the key file")
                .permissions()
                .mode();
            assert_eq!(mode & 0o777, 0o600);
        }
        let bound = |file_is_there: bool| {
            let loaded = arguments.load(&database, &Entropy::system(), Some("0123"));
            assert_eq!(loaded.is_ok(), file_is_there);
        };
        bound(true);
        std::fs::remove_file(&file).expect("gone");
        bound(false);
        assert!(
            !file.exists(),
            "no second key is made for a database that has one"
        );
        std::fs::write(&file, "not a key").expect("writes");
        assert!(arguments.load(&database, &Entropy::system(), None).is_err());
    }
}
