//! The root certificates that this machine trusts.
use rustls::RootCertStore;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long the roots are cached: loading a bundle of 150 certificates takes milliseconds, and a new certificate is used soon
/// after its installation.
const ROOTS_TTL: Duration = Duration::from_secs(60);

/// Returns the roots of the machine's trust store, or those of `SSL_CERT_FILE` and `SSL_CERT_DIR`. Empty on a machine without
/// any. Reads files: must not be called on an async thread.
pub fn trusted_roots() -> Arc<RootCertStore> {
    static KEPT: Mutex<Option<(Instant, Arc<RootCertStore>)>> = Mutex::new(None);
    let mut kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((read_at, roots)) = kept.as_ref()
        && read_at.elapsed() < ROOTS_TTL
    {
        return Arc::clone(roots);
    }
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let roots = Arc::new(roots);
    *kept = (!roots.is_empty()).then(|| (Instant::now(), Arc::clone(&roots)));
    roots
}
