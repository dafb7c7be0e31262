//! Whom encrypted connections trust.

use std::sync::{Arc, OnceLock};

use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, RootCertStore};

/// What TLS connections trust: the system's certificates, and `extra` ones (DER).
///
/// # Errors
/// Why none can be made, in words.
pub async fn trust(extra: &[Vec<u8>]) -> Result<Arc<ClientConfig>, String> {
    static SYSTEM: OnceLock<Arc<RootCertStore>> = OnceLock::new();
    let roots = match SYSTEM.get() {
        Some(roots) => Arc::clone(roots),
        // Reading them takes some milliseconds of file access; twice at once does no harm.
        None => tokio::task::spawn_blocking(|| {
            let mut roots = RootCertStore::empty();
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            Arc::clone(SYSTEM.get_or_init(|| Arc::new(roots)))
        })
        .await
        .map_err(|_| "the system's certificates cannot be read")?,
    };
    let roots = if extra.is_empty() {
        roots
    } else {
        let mut roots = RootCertStore::clone(&roots);
        roots.add_parsable_certificates(extra.iter().cloned().map(CertificateDer::from));
        Arc::new(roots)
    };
    if roots.is_empty() {
        return Err("the system has no trusted certificates: install ca-certificates".into());
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}
