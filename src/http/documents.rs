//! Documents that clients name by their hash instead of sending them: automatic persisted queries,
//! and trusted documents, where nothing else is served.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use lru::LruCache;
use serde::Deserialize;

use crate::domain::id::WorkspaceId;
use crate::graphql::document::LENGTH_MAX;
use crate::graphql::error::Code;
use crate::secrets::sha256_hex;

/// How much the documents that clients registered take at most, in bytes; the least used go first,
/// and their clients register them again.
const KEPT_MAX: usize = 16 << 20;
/// What a document takes beside its text: its hash, its workspace, its place in the list.
const BESIDE: usize = 200;

/// The documents that a server knows by their hash.
pub struct Documents(Known);

enum Known {
    /// Those that clients registered, of each workspace.
    Registered(Mutex<Registered>),
    /// Those of a file, by every id that it gives them; no others are served.
    Trusted(HashMap<String, Arc<str>>),
}

struct Registered {
    texts: LruCache<(WorkspaceId, String), Arc<str>>,
    bytes: usize,
}

/// How a request names its document.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Extensions {
    persisted_query: Option<PersistedQuery>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct PersistedQuery {
    version: u64,
    sha256_hash: String,
}

/// Why a document is not served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotServed {
    /// There is none.
    #[error("The body has no query.")]
    Missing,
    /// The text is the one that Apollo's clients look for.
    #[error("PersistedQueryNotFound")]
    NotFound,
    /// A version that does not exist.
    #[error("Unsupported persisted query version; it is 1.")]
    Version,
    /// Somebody is mistaken, or means to be.
    #[error("The document's SHA-256 is not the hash that came with it.")]
    Mismatch,
    /// Not one of the file's.
    #[error(
        "This server runs only documents that it was given beforehand; send one of them by its id, or add this one to the file of trusted documents."
    )]
    NotTrusted,
}

impl NotServed {
    /// The error's code.
    pub fn code(self) -> Code {
        match self {
            Self::Missing | Self::Version | Self::Mismatch => Code::BadUserInput,
            Self::NotFound => Code::PersistedQueryNotFound,
            Self::NotTrusted => Code::DocumentNotTrusted,
        }
    }
}

/// The file of trusted documents cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BadManifest {
    /// It cannot be read.
    #[error("the trusted documents in {file} cannot be read")]
    Unreadable {
        /// The file.
        file: String,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// It is no manifest.
    #[error(
        "{file} holds no trusted documents: it is JSON, either an object of hashes and documents (as Relay writes it) or an Apollo persisted query manifest"
    )]
    NotOne {
        /// The file.
        file: String,
        /// Why not.
        #[source]
        source: serde_json::Error,
    },
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Manifest {
    Apollo { operations: Vec<ManifestOperation> },
    Plain(HashMap<String, String>),
}

#[derive(Deserialize)]
struct ManifestOperation {
    id: String,
    body: String,
}

impl Documents {
    /// None yet: clients register them as they go.
    pub fn registered_by_clients() -> Self {
        Self(Known::Registered(Mutex::new(Registered {
            texts: LruCache::unbounded(),
            bytes: 0,
        })))
    }

    /// Those of a file, and no others.
    ///
    /// # Errors
    /// Where the file cannot be read or is no manifest.
    pub fn trusted(file: &Path) -> Result<Self, BadManifest> {
        let name = || file.display().to_string();
        let text = std::fs::read(file).map_err(|source| BadManifest::Unreadable {
            file: name(),
            source,
        })?;
        let manifest: Manifest =
            serde_json::from_slice(&text).map_err(|source| BadManifest::NotOne {
                file: name(),
                source,
            })?;
        let given: Vec<(String, String)> = match manifest {
            Manifest::Apollo { operations } => operations
                .into_iter()
                .map(|operation| (operation.id, operation.body))
                .collect(),
            Manifest::Plain(documents) => documents.into_iter().collect(),
        };
        let mut known = HashMap::new();
        for (id, body) in given {
            let text: Arc<str> = body.into();
            // By the id that the file gives, and by the hash that any client can compute.
            known.insert(sha256_hex(text.as_bytes()), Arc::clone(&text));
            known.insert(id, text);
        }
        Ok(Self(Known::Trusted(known)))
    }

    /// The text to run for what a request carries: a document, or a name of one
    /// (`extensions.persistedQuery`, or `documentId` of GraphQL over HTTP). A document that comes
    /// with its hash is kept for the next time.
    ///
    /// # Errors
    /// [`NotServed`], which says why.
    pub fn resolve(
        &self,
        workspace: WorkspaceId,
        query: Option<String>,
        document_id: Option<&str>,
        extensions: Option<&Extensions>,
    ) -> Result<String, NotServed> {
        let persisted = extensions.and_then(|extensions| extensions.persisted_query.as_ref());
        if persisted.is_some_and(|persisted| persisted.version != 1) {
            return Err(NotServed::Version);
        }
        let id = document_id.map(|id| id.strip_prefix("sha256:").unwrap_or(id));
        let id = id.or(persisted.map(|persisted| persisted.sha256_hash.as_str()));
        let query = query.filter(|query| !query.is_empty());
        match (&self.0, query, id) {
            (_, None, None) => Err(NotServed::Missing),
            (Known::Trusted(known), None, Some(id)) => {
                let text = known.get(id).ok_or(NotServed::NotFound)?;
                Ok(text.as_ref().to_owned())
            }
            (Known::Trusted(known), Some(query), _) => match known.get(&sha256_hex(&query)) {
                Some(_) => Ok(query),
                None => Err(NotServed::NotTrusted),
            },
            (Known::Registered(_), Some(query), None) => Ok(query),
            (Known::Registered(known), None, Some(id)) => {
                let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
                let text = known.texts.get(&(workspace, id.to_ascii_lowercase()));
                Ok(text.ok_or(NotServed::NotFound)?.as_ref().to_owned())
            }
            (Known::Registered(known), Some(query), Some(id)) => {
                let hash = sha256_hex(&query);
                if !hash.eq_ignore_ascii_case(id) {
                    return Err(NotServed::Mismatch);
                }
                // What is longer is refused before it is run.
                if query.len() <= LENGTH_MAX {
                    let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
                    known.keep((workspace, hash), query.as_str().into());
                }
                Ok(query)
            }
        }
    }
}

impl Registered {
    fn keep(&mut self, key: (WorkspaceId, String), text: Arc<str>) {
        self.bytes += text.len() + BESIDE;
        if let Some((_, gone)) = self.texts.push(key, text) {
            self.bytes -= gone.len() + BESIDE;
        }
        while self.bytes > KEPT_MAX {
            let Some((_, gone)) = self.texts.pop_lru() else {
                return;
            };
            self.bytes -= gone.len() + BESIDE;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn workspace(n: u128) -> WorkspaceId {
        WorkspaceId::from_uuid(uuid::Uuid::from_u128(n))
    }

    fn by_hash(hash: &str) -> Extensions {
        let text = format!(r#"{{"persistedQuery":{{"version":1,"sha256Hash":"{hash}"}}}}"#);
        serde_json::from_str(&text).expect("extensions")
    }

    #[test]
    fn a_document_is_known_once_it_came_with_its_hash() {
        let documents = Documents::registered_by_clients();
        let text = "{ __typename }".to_owned();
        let hash = by_hash(&sha256_hex(&text));
        let resolve = |of: u128, query: Option<&String>, hash: &Extensions| {
            documents.resolve(workspace(of), query.cloned(), None, Some(hash))
        };
        assert_eq!(resolve(1, None, &hash), Err(NotServed::NotFound));
        assert_eq!(
            resolve(1, Some(&text), &by_hash(&"0".repeat(64))),
            Err(NotServed::Mismatch)
        );
        assert_eq!(resolve(1, Some(&text), &hash), Ok(text.clone()));
        assert_eq!(resolve(1, None, &hash), Ok(text.clone()));
        assert_eq!(
            resolve(2, None, &hash),
            Err(NotServed::NotFound),
            "workspaces are walls"
        );
        let id = format!("sha256:{}", sha256_hex(&text));
        assert_eq!(
            documents.resolve(workspace(1), None, Some(&id), None),
            Ok(text)
        );
        assert_eq!(
            documents.resolve(workspace(1), None, None, None),
            Err(NotServed::Missing)
        );
    }

    #[test]
    fn what_is_registered_takes_a_bounded_room() {
        let documents = Documents::registered_by_clients();
        let register = |n: usize| {
            let text = format!("# {n}{}\n{{ a }}", "x".repeat(100_000));
            let hash = sha256_hex(&text);
            let kept = documents.resolve(workspace(1), Some(text), None, Some(&by_hash(&hash)));
            assert!(kept.is_ok());
            hash
        };
        let hashes: Vec<String> = (0..400).map(register).collect();
        let known = |hash: &String| {
            documents
                .resolve(workspace(1), None, None, Some(&by_hash(hash)))
                .is_ok()
        };
        assert!(!known(&hashes[0]) && known(&hashes[399]));
        let kept = hashes.iter().filter(|hash| known(hash)).count();
        assert!((150..168).contains(&kept), "{kept}");
        register(399);
        let Known::Registered(all) = &documents.0 else {
            panic!("registered")
        };
        let all = all.lock().expect("a lock");
        let bytes: usize = all.texts.iter().map(|(_, text)| text.len() + BESIDE).sum();
        assert_eq!(
            bytes, all.bytes,
            "the count is right after a document came twice"
        );
    }

    #[test]
    fn with_a_file_nothing_else_is_served() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        for manifest in [
            r#"{"abc": "{ a }"}"#,
            r#"{"format":"apollo-persisted-query-manifest","version":1,"operations":[{"id":"abc","body":"{ a }","name":"A","type":"query"}]}"#,
        ] {
            std::fs::write(file.path(), manifest).expect("written");
            let documents = Documents::trusted(file.path()).expect("a manifest");
            let resolve = |query: Option<&str>, id: Option<&str>| {
                documents.resolve(workspace(1), query.map(str::to_owned), id, None)
            };
            assert_eq!(resolve(None, Some("abc")), Ok("{ a }".into()));
            assert_eq!(
                resolve(None, Some(&sha256_hex("{ a }"))),
                Ok("{ a }".into())
            );
            assert_eq!(resolve(Some("{ a }"), None), Ok("{ a }".into()));
            assert_eq!(resolve(Some("{ b }"), None), Err(NotServed::NotTrusted));
            assert_eq!(
                resolve(Some("{ b }"), Some("abc")),
                Err(NotServed::NotTrusted)
            );
            assert_eq!(resolve(None, Some("xyz")), Err(NotServed::NotFound));
        }
        std::fs::write(file.path(), "[]").expect("written");
        assert!(Documents::trusted(file.path()).is_err());
    }
}
