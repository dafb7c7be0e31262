//! The keys that emails are signed with: made, published, switched on and off.

use sea_orm::DatabaseTransaction;

use super::{AppError, Caller, Refusal, RefusalCode, Services};
use crate::channel::dkim::{self as keys, KeyPair, SigningKey};
use crate::channel::dns::Published;
use crate::domain::address::recipient_domain;
use crate::domain::dkim::{DnsRecord, read_selector, record, record_name};
use crate::domain::id::{DkimKeyId, WorkspaceId};
use crate::domain::sender::authentication::Dkim;
use crate::store::dialect;
use crate::store::dkim::{self, KEYS_MAX, Row};

/// The selector of a key that is made without one.
const SELECTOR: &str = "cadenza";
/// The longest name in the DNS (RFC 1035 §3.1), as text.
const DNS_NAME_MAX: usize = 253;
/// The longest private key in PEM, in characters.
const PEM_CHARS_MAX: usize = 10_000;

/// A key to make.
#[derive(Clone)]
pub struct NewKey {
    /// Whose emails it is to sign.
    pub domain: String,
    /// Under which name it is published; `None`, [`SELECTOR`].
    pub selector: Option<String>,
    /// The private key in PEM; `None`, one is made.
    pub private_key: Option<String>,
}

/// Makes a key, or takes one over. It signs nothing until it is switched on.
///
/// # Errors
/// [`AppError::Refused`] with everything that is wrong: `INVALID` for a field, `ALREADY_EXISTS` for a domain
/// and selector that the workspace has, `LIMIT` where it has as many as it may have; [`AppError::Store`] as
/// the database has it.
pub async fn create(services: &Services, caller: &Caller, new: NewKey) -> Result<Row, AppError> {
    let mut wrong = Vec::new();
    let domain = new.domain.trim().trim_end_matches('.');
    let domain = recipient_domain(&format!("x@{domain}"));
    if domain.is_none() {
        let message = "domain is not an Internet domain like example.com: correct it.";
        wrong.push(Refusal::invalid(message, &["domain"]));
    }
    let selector = read_selector(new.selector.as_deref().unwrap_or(SELECTOR));
    if selector.is_none() {
        let message = "selector is letters, digits, dashes and dots, like cadenza or 2026-11, at most \
                       63 characters: correct it.";
        wrong.push(Refusal::invalid(message, &["selector"]));
    }
    let (Some(domain), Some(selector)) = (&domain, &selector) else {
        return Err(AppError::Refused(wrong));
    };
    let name = record_name(domain, selector);
    if name.len() > DNS_NAME_MAX {
        let message =
            format!("The record's name has at most {DNS_NAME_MAX} characters: shorten it.");
        return Err(Refusal::invalid(message, &["selector"]).into());
    }
    // Before the arithmetic, which takes a while, and once more with it.
    let known = dkim::list(services.db.read(), caller.workspace).await?;
    let is_known = |row: &Row| row.domain == *domain && row.selector == *selector;
    if known.iter().any(is_known) {
        return Err(exists(domain, selector).into());
    }
    full(u64::try_from(known.len()).unwrap_or(KEYS_MAX))?;
    let pair = pair(new.private_key).await?;
    let now = services.clock.now();
    let id: DkimKeyId = services.entropy.id(now);
    let secrets = &services.secrets;
    let row = Row {
        id: id.uuid(),
        workspace_id: caller.workspace.uuid(),
        domain: domain.clone(),
        selector: selector.clone(),
        secret: secrets.seal(
            &services.entropy,
            caller.workspace,
            id.uuid(),
            &pair.private,
        ),
        public_key: pair.public,
        enabled: false,
        created_at: now.timestamp_millis(),
        updated_at: now.timestamp_millis(),
    };
    let tx = services.db.begin().await?;
    full(dkim::count(&tx, caller.workspace).await?)?;
    if !dkim::insert(&tx, row.clone()).await? {
        return Err(exists(domain, selector).into());
    }
    tx.commit().await?;
    Ok(row)
}

fn full(count: u64) -> Result<(), Refusal> {
    if count < KEYS_MAX {
        return Ok(());
    }
    let message = format!("A workspace has at most {KEYS_MAX} DKIM keys: delete one first.");
    Err(Refusal::new(RefusalCode::Limit, message, &[]))
}

fn exists(domain: &str, selector: &str) -> Refusal {
    let message = format!(
        "There is a key {selector} for {domain} already: delete it by dkimKeyDelete, or give another \
         selector."
    );
    Refusal::new(RefusalCode::AlreadyExists, message, &["selector"])
}

async fn pair(pem: Option<String>) -> Result<KeyPair, Refusal> {
    let invalid = |error: keys::KeyError| Refusal::invalid(error.to_string(), &["privateKey"]);
    if pem.as_ref().is_some_and(|pem| pem.len() > PEM_CHARS_MAX) {
        return Err(invalid(keys::KeyError::Unreadable));
    }
    // Both keep a processor busy for a while.
    let made = tokio::task::spawn_blocking(move || match pem {
        Some(pem) => keys::read(&pem),
        None => keys::generate(),
    });
    made.await
        .unwrap_or(Err(keys::KeyError::Unmade))
        .map_err(invalid)
}

/// Lets a key sign what is sent from its domain and those below it, in the place of the one that did. Unless
/// `even_unpublished`, only one that receivers find: what they cannot check counts as unsigned.
///
/// # Errors
/// [`AppError::Refused`] with `NOT_FOUND` for a key that the workspace does not have, or with `WRONG_STATE`
/// where it cannot sign or is not published, with the record; [`AppError::Store`] as the database has it.
pub async fn enable(
    services: &Services,
    caller: &Caller,
    id: DkimKeyId,
    even_unpublished: bool,
) -> Result<Row, AppError> {
    let db = services.db.read();
    let found = dkim::find_many(db, caller.workspace, &[id]).await?;
    let row = found.into_iter().next().ok_or_else(missing)?;
    let key = signing_key(&row);
    let signer = services.transports.signer(caller.workspace, &key);
    let signer = signer.map_err(|why| unusable(&why))?;
    if !even_unpublished {
        let published = Published {
            key: &key,
            signer: &signer,
            public: &row.public_key,
        };
        is_found(&row, services.transports.dns().key(published).await)?;
    }
    let tx = services.db.begin().await?;
    let keys = dkim::lock_all(&tx, caller.workspace).await?;
    let mut row = take(&keys, id)?;
    let now = services.clock.now().timestamp_millis();
    // First the other one, for at most one signs at a time.
    for mut other in keys {
        if other.enabled && other.domain == row.domain && other.id != row.id {
            other.enabled = false;
            other.updated_at = now;
            dkim::save(&tx, other).await?;
        }
    }
    if !row.enabled {
        row.enabled = true;
        row.updated_at = now;
        dkim::save(&tx, row.clone()).await?;
    }
    changed(services, tx, row).await
}

/// Senders of the domain that rest, perhaps for want of their key, try again at once.
async fn changed(services: &Services, tx: DatabaseTransaction, row: Row) -> Result<Row, AppError> {
    let workspace = WorkspaceId::from_uuid(row.workspace_id);
    dkim::let_senders_try(&tx, workspace, &row.domain).await?;
    dialect::notify(&tx).await?;
    tx.commit().await?;
    services.wake.due();
    Ok(row)
}

fn unusable(why: &str) -> Refusal {
    let message = format!(
        "The key cannot sign ({why}), as when the server's own key was changed: delete it by \
         dkimKeyDelete and make another."
    );
    Refusal::new(RefusalCode::WrongState, message, &["id"])
}

fn is_found(row: &Row, found: Dkim) -> Result<(), Refusal> {
    let DnsRecord { name, value } = record_of(row);
    let what = match found {
        Dkim::Published(_) => return Ok(()),
        Dkim::Unanswered(why) => format!("It could not be looked up ({why})"),
        Dkim::Differs(_) => "There is another record, or several".to_owned(),
        _ => "There is no such record yet".to_owned(),
    };
    let message = format!(
        "Receivers take what this key signs for unsigned as long as they do not find it. {what}: \
         publish a TXT record {name} with the value \"{value}\" and try again when name servers show \
         it, or set evenUnpublished."
    );
    Err(Refusal::new(RefusalCode::WrongState, message, &["id"]))
}

/// Lets a key sign nothing any more. What it has signed stays good as long as its record is published.
///
/// # Errors
/// [`AppError::Refused`] with `NOT_FOUND` for a key that the workspace does not have; [`AppError::Store`] as
/// the database has it.
pub async fn disable(services: &Services, caller: &Caller, id: DkimKeyId) -> Result<Row, AppError> {
    let tx = services.db.begin().await?;
    let keys = dkim::lock_all(&tx, caller.workspace).await?;
    let mut row = take(&keys, id)?;
    if !row.enabled {
        return Ok(row);
    }
    row.enabled = false;
    row.updated_at = services.clock.now().timestamp_millis();
    dkim::save(&tx, row.clone()).await?;
    changed(services, tx, row).await
}

/// Deletes a key that is switched off.
///
/// # Errors
/// [`AppError::Refused`] with `NOT_FOUND` for a key that the workspace does not have, or with `WRONG_STATE` for
/// one that signs; [`AppError::Store`] as the database has it.
pub async fn delete(services: &Services, caller: &Caller, id: DkimKeyId) -> Result<(), AppError> {
    let tx = services.db.begin().await?;
    let keys = dkim::lock_all(&tx, caller.workspace).await?;
    let row = take(&keys, id)?;
    if row.enabled {
        let message = "The key signs: switch it off by dkimKeyUpdate first, or another one on in its \
                       place.";
        return Err(Refusal::new(RefusalCode::WrongState, message, &["id"]).into());
    }
    dkim::delete(&tx, caller.workspace, row.id).await?;
    tx.commit().await?;
    Ok(())
}

fn take(keys: &[Row], id: DkimKeyId) -> Result<Row, Refusal> {
    let found = keys.iter().find(|row| row.id == id.uuid());
    found.cloned().ok_or_else(missing)
}

fn missing() -> Refusal {
    let message = "There is no DKIM key with this id: take the id from `dkimKeys`.";
    Refusal::not_found(message, &["id"])
}

/// What is to be published of a key.
pub fn record_of(row: &Row) -> DnsRecord {
    record(&row.domain, &row.selector, &row.public_key)
}

/// The key as channels sign by it.
pub fn signing_key(row: &Row) -> SigningKey {
    SigningKey {
        id: DkimKeyId::from_uuid(row.id),
        domain: row.domain.clone(),
        selector: row.selector.clone(),
        sealed: row.secret.clone(),
    }
}
