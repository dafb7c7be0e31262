//! Signs emails for their domain (DKIM, RFC 6376), and makes the keys for it.
//!
//! Owns the arithmetic of keys and the lines of a signature; which key signs what is decided elsewhere.
//! A signature is rsa-sha256 with relaxed canonicalisation of headers and body, without a length: what RFC
//! 8301 has every signer do and every receiver understands.

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lru::LruCache;
use mail_auth::common::crypto::{RsaKey, Sha256};
use mail_auth::common::headers::HeaderWriter as _;
use mail_auth::dkim::{DkimSigner, Done};
use ring::rand::SystemRandom;
use ring::rsa::KeyPair as RsaKeyPair;
use ring::signature::{RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, UnparsedPublicKey};
use rsa::pkcs1::DecodeRsaPrivateKey as _;
use rsa::pkcs8::{DecodePrivateKey as _, EncodePrivateKey as _, EncodePublicKey as _};
use rsa::traits::PublicKeyParts as _;
use rsa::{RsaPrivateKey, RsaPublicKey};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

use super::carrier::{SenderRoute, unopened};
use super::mime::Composed;
use crate::domain::id::{DkimKeyId, WorkspaceId};
use crate::domain::outcome::{Outcome, Phase};

/// The length of a key that we make, in bits: what RFC 8301 §3.2 asks for, and the most that fits a record
/// which every name server takes.
const BITS: usize = 2_048;
/// The shortest key that signs, in bits. Receivers take half of that (RFC 8301 §3.2), and trust it little.
const BITS_MIN: usize = 2_048;
/// The longest key, in bits: signing by longer ones is slow.
const BITS_MAX: usize = 4_096;
/// The headers that are signed: all that say what the message is (RFC 6376 §5.4.1), and those by which one
/// opts out, which have to be (RFC 8058 §4). Each is listed once more than it is there, so that nobody adds
/// another one, above or below (RFC 6376 §5.4.2).
const SIGNED: [&str; 14] = [
    "From",
    "To",
    "Cc",
    "Subject",
    "Date",
    "Message-ID",
    "Reply-To",
    "In-Reply-To",
    "References",
    "MIME-Version",
    "Content-Type",
    "Content-Transfer-Encoding",
    "List-Unsubscribe",
    "List-Unsubscribe-Post",
];
/// How many keys are kept ready.
const SIGNERS_MAX: NonZeroUsize = NonZeroUsize::new(1_000).expect("it is not zero");

/// A key, both halves of it.
#[derive(Clone)]
pub struct KeyPair {
    /// The private half: PKCS #8 in DER, in base64.
    pub private: String,
    /// The public half as it is published: SubjectPublicKeyInfo in DER, in base64.
    pub public: String,
}

/// Why a key cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Not a key of the kind that is used.
    #[error(
        "The private key is no RSA key in PEM: give one that begins with -----BEGIN PRIVATE KEY----- or -----BEGIN RSA PRIVATE KEY-----, or leave it out to have one made."
    )]
    Unreadable,
    /// Too short or too long.
    #[error(
        "The private key has {0} bits, and keys of 2048 to 4096 are used: leave it out to have one made, and publish that one."
    )]
    Length(usize),
    /// It is not whole, or of a kind that is not signed with.
    #[error(
        "The private key cannot sign: give an RSA key as openssl genrsa makes it, of 2048, 3072 or 4096 bits with the exponent 65537, or leave it out to have one made."
    )]
    Unusable,
    /// The arithmetic failed.
    #[error("No key could be made: try again.")]
    Unmade,
}

/// Makes a key. It takes up to some seconds of a processor.
///
/// # Errors
/// [`KeyError::Unmade`], which should not happen.
pub fn generate() -> Result<KeyPair, KeyError> {
    let key = RsaPrivateKey::new(&mut rsa::rand_core::OsRng, BITS);
    pair(&key.map_err(|_| KeyError::Unmade)?)
}

/// Reads a private key in PEM (RFC 7468), PKCS #1 or PKCS #8.
///
/// # Errors
/// [`KeyError`], with the remedy.
pub fn read(pem: &str) -> Result<KeyPair, KeyError> {
    let pem = pem.trim();
    let key = RsaPrivateKey::from_pkcs8_pem(pem)
        .ok()
        .or_else(|| RsaPrivateKey::from_pkcs1_pem(pem).ok())
        .ok_or(KeyError::Unreadable)?;
    let bits = key.size() * 8;
    if !(BITS_MIN..=BITS_MAX).contains(&bits) {
        return Err(KeyError::Length(bits));
    }
    pair(&key)
}

fn pair(key: &RsaPrivateKey) -> Result<KeyPair, KeyError> {
    let private = key.to_pkcs8_der().map_err(|_| KeyError::Unmade)?;
    try_out(private.as_bytes()).ok_or(KeyError::Unusable)?;
    let public = RsaPublicKey::from(key).to_public_key_der();
    let public = public.map_err(|_| KeyError::Unmade)?;
    Ok(KeyPair {
        private: STANDARD.encode(private.as_bytes()),
        public: STANDARD.encode(public.as_bytes()),
    })
}

/// Whether a key signs: what signs emails asks more of a key than what reads it.
#[expect(
    clippy::disallowed_methods,
    reason = "it only blinds the arithmetic of a signature that is thrown away"
)]
fn try_out(der: &[u8]) -> Option<()> {
    let key = RsaKeyPair::from_pkcs8(der).ok()?;
    let mut signature = vec![0; key.public().modulus_len()];
    let (trial, random) = (b"trial", SystemRandom::new());
    key.sign(&RSA_PKCS1_SHA256, &random, trial, &mut signature)
        .ok()?;
    let public = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, key.public());
    public.verify(trial, &signature).ok()
}

/// The key that signs a sender's emails, its private half sealed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SigningKey {
    /// The key. It never changes: another has another id.
    pub id: DkimKeyId,
    /// Whose emails it signs.
    pub domain: String,
    /// Under which name it is published.
    pub selector: String,
    /// The sealed private half.
    pub sealed: String,
}

/// Opens the sealed half of a key. A function, so that channels know nothing of our own keys.
pub type OpenKey = dyn Fn(WorkspaceId, &SigningKey) -> Result<String, String> + Send + Sync;

/// Signs in the name of a domain.
pub struct Signer(DkimSigner<RsaKey<Sha256>, Done>);

impl Signer {
    /// Signs by this key, whose private half is opened.
    ///
    /// # Errors
    /// In words, where it is no key.
    pub fn new(key: &SigningKey, private: &str) -> Result<Self, String> {
        let der = STANDARD
            .decode(private)
            .map_err(|error| error.to_string())?;
        let der = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(der));
        let read = RsaKey::<Sha256>::from_key_der(der).map_err(|error| error.to_string())?;
        let signer = DkimSigner::from_key(read)
            .domain(key.domain.clone())
            .selector(key.selector.clone())
            .headers(SIGNED.into_iter().chain(SIGNED));
        Ok(Self(signer))
    }

    /// The message with its signature in front.
    ///
    /// # Errors
    /// In words, where it cannot be signed.
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, String> {
        let signature = self.0.sign(message).map_err(|error| error.to_string())?;
        let mut signed = signature.to_header().into_bytes();
        signed.extend_from_slice(message);
        Ok(signed)
    }
}

/// The keys that are in use, opened.
pub(super) struct Signers {
    open: Box<OpenKey>,
    ready: Mutex<LruCache<DkimKeyId, Arc<Signer>>>,
}

impl Signers {
    pub fn new(open: Box<OpenKey>) -> Self {
        Self {
            open,
            ready: Mutex::new(LruCache::new(SIGNERS_MAX)),
        }
    }

    /// Signs an email that leaves by this route, where it is signed.
    ///
    /// # Errors
    /// The outcome, where the key cannot be used, as when the server's own key was changed: it is tried
    /// again, for receivers who were told to expect a signature may refuse it without one.
    pub fn sign(&self, route: &SenderRoute, email: &mut Composed) -> Result<(), Box<Outcome>> {
        let Some(key) = &route.signing_key else {
            return Ok(());
        };
        let signed = self
            .signer(route.workspace, key)
            .and_then(|signer| signer.sign(&email.bytes));
        let unsigned = |why| {
            let why = format!("The DKIM key {} cannot sign: {why}.", key.id);
            Box::new(unopened(Phase::Connect, why))
        };
        email.bytes = signed.map_err(unsigned)?;
        Ok(())
    }

    /// The signer of a key, opened once.
    pub fn signer(&self, workspace: WorkspaceId, key: &SigningKey) -> Result<Arc<Signer>, String> {
        let mut ready = self.ready.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(signer) = ready.get(&key.id) {
            return Ok(Arc::clone(signer));
        }
        let private = (self.open)(workspace, key)?;
        let signer = Arc::new(Signer::new(key, &private)?);
        ready.put(key.id, Arc::clone(&signer));
        Ok(signer)
    }
}
