//! Whom this machine trusts to sign certificates.
use rustls::RootCertStore;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long the roots are kept once read: a bundle of 150 certificates takes milliseconds to read, and a certificate
/// that is installed later counts soon.
const KEPT_FOR: Duration = Duration::from_secs(60);

/// The roots of the machine's trust store, or those of the file and folder that `SSL_CERT_FILE` and `SSL_CERT_DIR`
/// name. Empty on a machine without any. Reads files: not for a thread that others wait for.
pub fn trusted_roots() -> Arc<RootCertStore> {
    static KEPT: Mutex<Option<(Instant, Arc<RootCertStore>)>> = Mutex::new(None);
    let mut kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((read_at, roots)) = kept.as_ref()
        && read_at.elapsed() < KEPT_FOR
    {
        return Arc::clone(roots);
    }
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let roots = Arc::new(roots);
    *kept = (!roots.is_empty()).then(|| (Instant::now(), Arc::clone(&roots)));
    roots
}
