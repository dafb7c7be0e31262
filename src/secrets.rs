//! The installation's key: seals what is stored and signs what leaves and comes back.
//!
//! One master key of 32 bytes is kept outside the database. The keys that are used are derived
//! from it (HKDF, RFC 5869), so that no key serves two purposes. Nothing here reads the database,
//! a clock or a file; [`crate::cli`] finds the master key.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::{hkdf, hmac};
use ulid::Ulid;
use uuid::Uuid;

use crate::domain::id::{ExecutionId, WorkspaceId};
use crate::domain::tracking::Seal;
use crate::entropy::Entropy;

/// The length of a master key, in bytes.
pub const KEY_LEN: usize = 32;
/// How many bytes of a signature a cursor carries: 128 bits cannot be guessed over a network.
const SIGNATURE_LEN: usize = 16;
/// How many characters 64 bits take in base 32: what an address has room for, and too many to guess by
/// sending mails.
const TAG_SIGNATURE_CHARS: usize = 13;
/// The first part of a sealed text; another format gets another number.
const FORMAT: &str = "v1";

/// Keys for sealing and signing.
pub struct Secrets {
    seal: LessSafeKey,
    sign: hmac::Key,
    /// Seals tokens, and makes the nonces for that.
    token: (LessSafeKey, hmac::Key),
    fingerprint: String,
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secrets({})", self.fingerprint)
    }
}

/// A sealed text could not be opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// It was sealed by a version that this one does not know.
    #[error("the secret has a format that this version does not know")]
    Format,
    /// It was sealed with another key or for another row, or it was altered.
    #[error("the secret does not belong here: another key, another row, or altered")]
    Foreign,
}

/// The text is no master key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a secret key is 32 bytes, written as 64 hexadecimal digits or in base64; `openssl rand -base64 32` makes one"
)]
pub struct NotAKey;

impl Secrets {
    /// The keys derived from a master key.
    pub fn from_key(master: [u8; KEY_LEN]) -> Self {
        let master = hkdf::Salt::new(hkdf::HKDF_SHA256, b"cadenza").extract(&master);
        let sealing = derive(&master, b"seal");
        let seal = UnboundKey::new(&AES_256_GCM, &sealing).expect("32 bytes are an AES-256 key");
        let print = derive(&master, b"fingerprint");
        let token = UnboundKey::new(&AES_256_GCM, &derive(&master, b"token"))
            .expect("32 bytes are an AES-256 key");
        let nonce = hmac::Key::new(hmac::HMAC_SHA256, &derive(&master, b"token-nonce"));
        Self {
            token: (LessSafeKey::new(token), nonce),
            seal: LessSafeKey::new(seal),
            sign: hmac::Key::new(hmac::HMAC_SHA256, &derive(&master, b"sign")),
            fingerprint: hex(print.get(..8).unwrap_or_default()),
        }
    }

    /// Reads a master key as people write it: hexadecimal or base64, 32 bytes.
    ///
    /// # Errors
    /// [`NotAKey`] for anything else.
    pub fn parse_key(text: &str) -> Result<[u8; KEY_LEN], NotAKey> {
        use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
        use base64::engine::{DecodePaddingMode, general_purpose::STANDARD};
        let text = text.trim();
        let hexadecimal = (text.len() == 2 * KEY_LEN).then(|| {
            let digits: Option<Vec<u8>> = (0..KEY_LEN)
                .map(|index| text.get(2 * index..2 * index + 2))
                .map(|pair| u8::from_str_radix(pair?, 16).ok())
                .collect();
            digits
        });
        let lenient =
            GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
        let decoded = hexadecimal.flatten().or_else(|| {
            let url_safe = GeneralPurpose::new(&base64::alphabet::URL_SAFE, lenient);
            let standard = GeneralPurpose::new(&base64::alphabet::STANDARD, lenient);
            STANDARD
                .decode(text)
                .or_else(|_| standard.decode(text))
                .or_else(|_| url_safe.decode(text))
                .ok()
        });
        decoded
            .and_then(|bytes| bytes.try_into().ok())
            .ok_or(NotAKey)
    }

    /// What tells this key from another without giving anything of it away.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// Seals a text (AES-256-GCM) for one row of one workspace: copied to another row, it cannot
    /// be opened.
    pub fn seal(
        &self,
        entropy: &Entropy,
        workspace: WorkspaceId,
        row: Uuid,
        plain: &str,
    ) -> String {
        let mut nonce = [0; NONCE_LEN];
        entropy.fill(&mut nonce);
        let mut sealed = plain.as_bytes().to_vec();
        let aad = Aad::from(place(workspace, row));
        self.seal
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), aad, &mut sealed)
            .expect("a text in memory is shorter than the 64 GiB that the cipher takes");
        let mut bytes = nonce.to_vec();
        bytes.append(&mut sealed);
        format!("{FORMAT}.{}", URL_SAFE_NO_PAD.encode(bytes))
    }

    /// Opens what [`Secrets::seal`] sealed for the same row.
    ///
    /// # Errors
    /// [`SecretError`] where it was sealed otherwise or altered.
    pub fn open(
        &self,
        workspace: WorkspaceId,
        row: Uuid,
        sealed: &str,
    ) -> Result<String, SecretError> {
        let (format, body) = sealed.split_once('.').ok_or(SecretError::Format)?;
        if format != FORMAT {
            return Err(SecretError::Format);
        }
        let bytes = URL_SAFE_NO_PAD
            .decode(body)
            .map_err(|_| SecretError::Foreign)?;
        let (nonce, body) = bytes
            .split_at_checked(NONCE_LEN)
            .ok_or(SecretError::Foreign)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| SecretError::Foreign)?;
        let mut body = body.to_vec();
        let aad = Aad::from(place(workspace, row));
        let plain = self
            .seal
            .open_in_place(nonce, aad, &mut body)
            .map_err(|_| SecretError::Foreign)?;
        String::from_utf8(plain.to_vec()).map_err(|_| SecretError::Foreign)
    }

    /// Signs bytes in the context of a workspace and a use: base64url of the bytes and a
    /// signature (HMAC-SHA256, cut to 128 bits). The bytes can be read by anybody; altered, or
    /// taken to another context, they are refused.
    pub fn sign(&self, workspace: WorkspaceId, purpose: &str, bytes: &[u8]) -> String {
        let tag = hmac::sign(&self.sign, &signed(workspace, purpose, bytes));
        let mut text = bytes.to_vec();
        text.extend_from_slice(tag.as_ref().get(..SIGNATURE_LEN).unwrap_or_default());
        URL_SAFE_NO_PAD.encode(text)
    }

    /// What the requests of a workspace to other programs are signed with, as Standard Webhooks writes
    /// a secret: `whsec_` and 32 bytes in base64. The same as long as the master key is.
    pub fn webhook_secret(&self, workspace: WorkspaceId) -> String {
        let key = hmac::sign(&self.sign, &signed(workspace, "webhook-secret", &[]));
        format!("whsec_{}", STANDARD.encode(key))
    }

    /// The id that [`Seal::tag`] signed for the same workspace; `None` for anything else.
    pub fn read_tag(&self, workspace: WorkspaceId, tag: &str) -> Option<Uuid> {
        let (id, signature) = tag.split_at_checked(ulid::ULID_LEN)?;
        let id = Uuid::from_u128(Ulid::from_string(id).ok()?.into());
        let leading = "0".repeat(ulid::ULID_LEN - TAG_SIGNATURE_CHARS);
        let signature: u128 = Ulid::from_string(&format!("{leading}{signature}"))
            .ok()?
            .into();
        // A comparison of two numbers takes the same time whatever they are.
        (signature == u128::from(self.tag_signature(workspace, id))).then_some(id)
    }

    fn tag_signature(&self, workspace: WorkspaceId, id: Uuid) -> u64 {
        let tag = hmac::sign(
            &self.sign,
            &signed(workspace, "reply-address", id.as_bytes()),
        );
        let cut = tag.as_ref().first_chunk().copied().unwrap_or_default();
        u64::from_be_bytes(cut)
    }

    /// The bytes that [`Secrets::sign`] signed in the same context; `None` for anything else.
    pub fn verify(&self, workspace: WorkspaceId, purpose: &str, text: &str) -> Option<Vec<u8>> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let (bytes, tag) = bytes.split_at_checked(bytes.len().checked_sub(SIGNATURE_LEN)?)?;
        let expected = hmac::sign(&self.sign, &signed(workspace, purpose, bytes));
        let expected = expected.as_ref().get(..SIGNATURE_LEN)?;
        // Every byte is looked at, so that the time tells nothing.
        let differences = expected
            .iter()
            .zip(tag)
            .fold(0, |sum, (a, b)| sum | (a ^ b));
        (differences == 0).then(|| bytes.to_vec())
    }
}

impl Secrets {
    /// What a token says that [`Seal::token`] has made; `None` for anything else.
    pub fn open_token(&self, text: &str) -> Option<Vec<u8>> {
        let mut bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let (nonce, body) = bytes.split_at_mut_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let plain = self.token.0.open_in_place(nonce, Aad::empty(), body).ok()?;
        Some(plain.to_vec())
    }
}

impl Seal for Secrets {
    /// AES-256-GCM under a nonce made of what is sealed (as RFC 8452 §3 motivates): the same bytes give the
    /// same token, and no nonce serves for two different ones.
    fn token(&self, plain: &[u8]) -> String {
        let tag = hmac::sign(&self.token.1, plain);
        let mut nonce = [0; NONCE_LEN];
        for (place, byte) in nonce.iter_mut().zip(tag.as_ref()) {
            *place = *byte;
        }
        let mut sealed = plain.to_vec();
        let under = Nonce::assume_unique_for_key(nonce);
        let done = (self.token.0).seal_in_place_append_tag(under, Aad::empty(), &mut sealed);
        done.expect("a token in memory is shorter than the 64 GiB that the cipher takes");
        let mut bytes = nonce.to_vec();
        bytes.append(&mut sealed);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Signs an id for an address that answers go to: letters and digits of which the case says nothing,
    /// as mail servers change it. The id can be read by anybody; altered, or taken to another
    /// workspace, it is refused.
    fn tag(&self, workspace: WorkspaceId, message: ExecutionId) -> String {
        let id = message.uuid();
        let signature = Ulid::from(u128::from(self.tag_signature(workspace, id)));
        let (id, signature) = (Ulid::from(id.as_u128()).to_string(), signature.to_string());
        let signature = signature
            .get(signature.len() - TAG_SIGNATURE_CHARS..)
            .unwrap_or_default();
        format!("{id}{signature}").to_ascii_lowercase()
    }
}

/// The SHA-256 of a text, in hexadecimal: what is kept of a token.
pub fn sha256_hex(text: impl AsRef<[u8]>) -> String {
    hex(ring::digest::digest(&ring::digest::SHA256, text.as_ref()).as_ref())
}

fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
            for nibble in [byte >> 4, byte & 15] {
                text.push(char::from_digit(u32::from(nibble), 16).unwrap_or('0'));
            }
            text
        })
}

fn derive(master: &hkdf::Prk, purpose: &[u8]) -> [u8; KEY_LEN] {
    let mut key = [0; KEY_LEN];
    master
        .expand(&[purpose], hkdf::HKDF_SHA256)
        .and_then(|derived| derived.fill(&mut key))
        .expect("HKDF-SHA256 gives up to 8160 bytes, and 32 are asked for");
    key
}

fn place(workspace: WorkspaceId, row: Uuid) -> [u8; 32] {
    let mut place = [0; 32];
    let (first, second) = place.split_at_mut(16);
    first.copy_from_slice(workspace.uuid().as_bytes());
    second.copy_from_slice(row.as_bytes());
    place
}

/// What is signed: each part with its length, so that no two contexts read the same.
fn signed(workspace: WorkspaceId, purpose: &str, bytes: &[u8]) -> Vec<u8> {
    let mut message = workspace.uuid().as_bytes().to_vec();
    let length = u32::try_from(purpose.len()).unwrap_or(u32::MAX);
    message.extend_from_slice(&length.to_be_bytes());
    message.extend_from_slice(purpose.as_bytes());
    message.extend_from_slice(bytes);
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places() -> (WorkspaceId, Uuid) {
        (
            WorkspaceId::from_uuid(Uuid::from_u128(1)),
            Uuid::from_u128(2),
        )
    }

    #[test]
    fn a_sealed_text_opens_only_in_its_place() {
        let (secrets, entropy) = (Secrets::from_key([1; 32]), Entropy::system());
        let (workspace, row) = places();
        let sealed = secrets.seal(&entropy, workspace, row, "pässword");
        assert!(sealed.starts_with("v1.") && !sealed.contains("ssword"));
        assert_ne!(sealed, secrets.seal(&entropy, workspace, row, "pässword"));
        assert_eq!(secrets.open(workspace, row, &sealed), Ok("pässword".into()));
        let elsewhere = WorkspaceId::from_uuid(Uuid::from_u128(3));
        assert_eq!(
            secrets.open(elsewhere, row, &sealed),
            Err(SecretError::Foreign)
        );
        assert_eq!(
            secrets.open(workspace, Uuid::from_u128(9), &sealed),
            Err(SecretError::Foreign)
        );
        assert_eq!(
            Secrets::from_key([2; 32]).open(workspace, row, &sealed),
            Err(SecretError::Foreign)
        );
        assert_eq!(
            secrets.open(workspace, row, &sealed.replace("v1.", "v9.")),
            Err(SecretError::Format)
        );
        for junk in ["", "v1", "v1.", "v1.AAAA", "v1.@@"] {
            assert!(secrets.open(workspace, row, junk).is_err(), "{junk}");
        }
    }

    #[test]
    fn a_token_opens_as_it_was_sealed_and_not_otherwise() {
        let (secrets, other) = (Secrets::from_key([1; 32]), Secrets::from_key([2; 32]));
        let text = secrets.token(b"what it says");
        assert_eq!(text, secrets.token(b"what it says"), "always the same");
        assert!(!text.contains("what"));
        assert_ne!(text, other.token(b"what it says"));
        assert_eq!(secrets.open_token(&text), Some(b"what it says".to_vec()));
        assert_eq!(other.open_token(&text), None);
        let (entropy, mut seen) = (Entropy::seeded(4), 0);
        for round in 0..10_000_usize {
            let mut bytes = text.clone().into_bytes();
            let mut random = [0_u8; 4];
            entropy.fill(&mut random);
            let at = usize::from(random[0]) % bytes.len();
            match round % 4 {
                0 => bytes[at] = random[1],
                1 => bytes.truncate(at),
                2 => bytes.insert(at, random[1]),
                _ => bytes[at] ^= 1 << (random[1] % 8),
            }
            let changed = String::from_utf8_lossy(&bytes).into_owned();
            if changed != text {
                assert_eq!(secrets.open_token(&changed), None, "{changed}");
                seen += 1;
            }
        }
        assert!(seen > 9_900);
    }

    #[test]
    fn a_signature_holds_in_its_context_only() {
        let secrets = Secrets::from_key([1; 32]);
        let (workspace, _) = places();
        let text = secrets.sign(workspace, "leads", b"key");
        assert_eq!(
            secrets.verify(workspace, "leads", &text),
            Some(b"key".to_vec())
        );
        assert_eq!(secrets.verify(workspace, "lead", &text), None);
        let elsewhere = WorkspaceId::from_uuid(Uuid::from_u128(3));
        assert_eq!(secrets.verify(elsewhere, "leads", &text), None);
        for index in 0..text.len() {
            let mut altered = text.clone().into_bytes();
            altered[index] = if altered[index] == b'A' { b'B' } else { b'A' };
            let altered = String::from_utf8(altered).expect("ASCII");
            assert_eq!(
                secrets.verify(workspace, "leads", &altered),
                None,
                "at {index}"
            );
        }
        assert_eq!(secrets.verify(workspace, "leads", ""), None);
    }

    #[test]
    fn a_tag_holds_in_its_workspace_in_any_case() {
        let secrets = Secrets::from_key([1; 32]);
        let (workspace, id) = places();
        let tag = secrets.tag(workspace, ExecutionId::from_uuid(id));
        assert_eq!(tag.len(), crate::domain::inbox::TAG_CHARS);
        assert_eq!(tag.len(), 39);
        assert_eq!(secrets.read_tag(workspace, &tag), Some(id));
        let upper = tag.to_uppercase();
        assert_eq!(secrets.read_tag(workspace, &upper), Some(id));
        let elsewhere = WorkspaceId::from_uuid(Uuid::from_u128(3));
        assert_eq!(secrets.read_tag(elsewhere, &tag), None);
        for index in 0..tag.len() {
            let mut altered = tag.clone().into_bytes();
            altered[index] = if altered[index] == b'2' { b'3' } else { b'2' };
            let altered = String::from_utf8(altered).expect("ASCII");
            assert_eq!(secrets.read_tag(workspace, &altered), None, "at {index}");
        }
        for junk in ["", "é", &tag[..38], &format!("{tag}0"), &tag[..26]] {
            assert_eq!(secrets.read_tag(workspace, junk), None, "{junk}");
        }
    }

    #[test]
    fn keys_are_read_as_people_write_them() {
        let key = [0xfb; 32];
        let hexadecimal = hex(&key);
        let standard = base64::engine::general_purpose::STANDARD.encode(key);
        for text in [
            hexadecimal,
            format!(" {standard}\n"),
            URL_SAFE_NO_PAD.encode(key),
        ] {
            assert_eq!(Secrets::parse_key(&text), Ok(key), "{text}");
        }
        for text in ["", "short", "é", &"z".repeat(64), &"ab".repeat(31)] {
            assert_eq!(Secrets::parse_key(text), Err(NotAKey), "{text}");
        }
    }
}
