//! The connection string of a PostgreSQL server, as in libpq: the parts that determine how the connection is encrypted, and
//! which certificates are trusted.
use super::trouble::{ConnectError, ConnectErrorKind};
use crate::domain::SecretRef;
use crate::net::trusted_roots;
use crate::secret;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres_rustls::MakeRustlsConnect;

/// How to connect to a server.
#[derive(Clone)]
pub struct Address {
    pub(super) config: Config,
    pub(super) encryption: MakeRustlsConnect,
    /// Hosts and database, without user, password and settings.
    pub place: String,
    /// Only a writable server is accepted.
    pub(super) wants_primary: bool,
}

/// The security settings of an address, which the driver does not handle.
#[derive(Debug, Default, PartialEq)]
struct Security {
    mode: Option<String>,
    root: Option<String>,
    certificate: Option<String>,
    key: Option<String>,
}

impl Address {
    /// Parses an address, and resolves the password within `bound`.
    ///
    /// # Errors
    /// [`ConnectErrorKind::Address`].
    pub async fn of(url: &str, password: Option<&SecretRef>, bound: Duration) -> Result<Self, ConnectError> {
        let of_address =
            |place: &str, why: &str| ConnectError::new(ConnectErrorKind::Address, format!("{place}: {why}"));
        let wrong = |why: &str| of_address(HIDDEN, why);
        let (url, security) = Security::of(url).map_err(|why| wrong(&why))?;
        let mut config: Config = url.parse().map_err(|error: tokio_postgres::Error| {
            // the cause contains a setting's name but not its value, unless it was ambiguous
            let cause = std::error::Error::source(&error).filter(|_| is_plain(&url));
            let cause = cause.map(|cause| format!(": {cause}")).unwrap_or_default();
            wrong(&format!(
                "the address of the database can't be read{cause}; write \
                 postgres://user@host:5432/db?sslmode=verify-full"
            ))
        })?;
        let place = match rest_of(&url) {
            Some(rest) if is_plain(&url) => format!("postgres://{}", place_in(rest)),
            Some(_) => HIDDEN.to_owned(),
            None => place(&config),
        };
        let wrong = |why: &str| of_address(&place, why);
        if let Some(password) = password {
            let password =
                secret::resolve(password, bound).await.map_err(|error| wrong(&error.to_string()))?;
            config.password(password.expose());
        }
        config.application_name("bgagent");
        match security.mode.as_deref() {
            Some("disable") => config.ssl_mode(SslMode::Disable),
            Some("allow" | "prefer") => config.ssl_mode(SslMode::Prefer),
            Some(_) => config.ssl_mode(SslMode::Require),
            // the driver's own default, or from a list of settings
            None => &mut config,
        };
        let encryption = security.encryption().map_err(|why| wrong(&why))?;
        Ok(Self { config, encryption: MakeRustlsConnect::new(encryption), place, wants_primary: false })
    }

    /// The same, but skips replicas such as hot standbys.
    #[must_use]
    pub fn of_primary(self) -> Self {
        Self { wants_primary: true, ..self }
    }
}

/// Shown instead of an address whose password has no certain end.
const HIDDEN: &str = "postgres://…";

/// Returns what follows the scheme of an address that is a URL.
fn rest_of(address: &str) -> Option<&str> {
    address.strip_prefix("postgres://").or_else(|| address.strip_prefix("postgresql://"))
}

/// Returns whether the password is unambiguous. Of several `@`, the driver takes the first as its end.
fn is_plain(address: &str) -> bool {
    rest_of(address).is_some_and(|rest| rest.matches('@').count() <= 1)
}

/// Returns hosts and database name of a URL. Split like in the driver: a password with `?`, `#` or `/` has a different end than
/// it seems.
fn place_in(rest: &str) -> &str {
    let place = rest.split_once('@').map_or(rest, |(_, place)| place);
    place.split_once('?').map_or(place, |(place, _)| place)
}

/// Returns the settings of a URL. A `?` before the `@` belongs to the password, unless complete hosts precede it.
fn settings(rest: &str) -> Option<&str> {
    let (before, settings) = rest.split_once('?')?;
    let host = before.split('/').next().unwrap_or_default();
    let is_port = |port: &str| port.ends_with(']') || port.bytes().all(|digit| digit.is_ascii_digit());
    let is_place = before.contains('@') || host.rsplit_once(':').is_none_or(|(_, port)| is_port(port));
    match settings.split_once('@') {
        Some((_, place)) if !is_place => place.split_once('?').map(|(_, settings)| settings),
        _ => Some(settings),
    }
}

/// Describes the hosts and database of a list of settings, without user and password.
fn place(config: &Config) -> String {
    let ports = config.get_ports();
    let with_port = |(at, host): (usize, String)| match ports.get(at).or(ports.first()) {
        None | Some(5432) => host,
        Some(port) => format!("{host}:{port}"),
    };
    let named: Vec<String> = config.get_hosts().iter().map(host).collect();
    let hosts = match named.is_empty() {
        true => config.get_hostaddrs().iter().map(ToString::to_string).collect(),
        false => named,
    };
    let hosts: Vec<String> = hosts.into_iter().enumerate().map(with_port).collect();
    let database = config.get_dbname().map(|name| format!("/{name}")).unwrap_or_default();
    format!("postgres://{}{database}", hosts.join(","))
}

fn host(host: &Host) -> String {
    match host {
        Host::Tcp(name) if name.contains(':') => format!("[{name}]"),
        Host::Tcp(name) => name.clone(),
        #[cfg(unix)]
        Host::Unix(path) => path.display().to_string().replace('/', "%2F"),
    }
}

impl Security {
    /// Extracts the settings that are handled here; the rest is left to the driver.
    fn of(url: &str) -> Result<(String, Self), String> {
        let mut security = Self::default();
        let Some(query) = rest_of(url).and_then(settings) else { return Ok((url.to_owned(), security)) };
        let base = &url[..url.len() - query.len() - 1];
        let mut rest = Vec::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let value = percent_encoding::percent_decode_str(value).decode_utf8_lossy().into_owned();
            let none_of = |known: &[&str]| match known.contains(&value.as_str()) {
                true => Ok(()),
                false => Err(format!("`{name}` of the address is one of {}", known.join(", "))),
            };
            match name {
                "sslmode" => {
                    none_of(&["disable", "allow", "prefer", "require", "verify-ca", "verify-full"])?;
                    security.mode = Some(value);
                }
                "sslrootcert" => security.root = Some(value),
                "sslcert" => security.certificate = Some(value),
                "sslkey" => security.key = Some(value),
                // values without effect
                "gssencmode" => none_of(&["disable", "allow", "prefer"])?,
                "sslcompression" => none_of(&["0"])?,
                "sslsni" => none_of(&["1"])?,
                "ssl_min_protocol_version" => none_of(&["TLSv1", "TLSv1.1", "TLSv1.2"])?,
                _ => rest.push(pair),
            }
        }
        if security.root.as_deref() == Some("system") && security.mode.is_none() {
            security.mode = Some("verify-full".into());
        }
        let rest = if rest.is_empty() { String::new() } else { format!("?{}", rest.join("&")) };
        Ok((format!("{base}{rest}"), security))
    }

    fn encryption(&self) -> Result<ClientConfig, String> {
        // A second installation is refused by rustls and changes nothing.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let roots = self.roots()?;
        let builder = ClientConfig::builder();
        // Like in libpq: with its own root certificate, `require` checks the chain, but not the name.
        let mode = self.mode.as_deref();
        let by_chain = mode == Some("verify-ca") || (mode == Some("require") && self.root.is_some());
        let builder = if by_chain && !roots.is_empty() {
            let inner = WebPkiServerVerifier::builder(roots).build().map_err(|error| error.to_string())?;
            let provider = CryptoProvider::get_default().cloned().ok_or("there is no cryptography")?;
            builder.dangerous().with_custom_certificate_verifier(Arc::new(OfAnyName { inner, provider }))
        } else {
            builder.with_root_certificates(roots)
        };
        match (&self.certificate, &self.key) {
            (None, None) => Ok(builder.with_no_client_auth()),
            (Some(certificate), Some(key)) => {
                let chain = certificates("sslcert", certificate)?;
                let key_file = file("sslkey", key)?;
                let key = PrivateKeyDer::from_pem_file(key_file)
                    .map_err(|error| format!("sslkey: {key} holds no key that can be read: {error}"))?;
                builder.with_client_auth_cert(chain, key).map_err(|error| format!("sslcert, sslkey: {error}"))
            }
            _ => Err("`sslcert` and `sslkey` belong together".into()),
        }
    }

    /// Returns the trusted root certificates: those of the file, or the machine's. A machine without any can still connect to
    /// servers that need none.
    fn roots(&self) -> Result<Arc<RootCertStore>, String> {
        let Some(path) = self.root.as_deref().filter(|root| *root != "system") else {
            return Ok(trusted_roots());
        };
        let mut roots = RootCertStore::empty();
        for certificate in certificates("sslrootcert", path)? {
            roots.add(certificate).map_err(|error| format!("sslrootcert: {path}: {error}"))?;
        }
        Ok(Arc::new(roots))
    }
}

/// Returns a file of the address. Relative paths are refused: the daemon's directory must not matter.
fn file<'a>(setting: &str, path: &'a str) -> Result<&'a Path, String> {
    let path = Path::new(path);
    if !path.is_absolute() {
        return Err(format!("{setting}: {} must be an absolute path", path.display()));
    }
    std::fs::metadata(path)
        .map(|_| path)
        .map_err(|error| format!("{setting}: {} can't be read: {error}", path.display()))
}

fn certificates(setting: &str, path: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let wrong = |why: String| format!("{setting}: {path} holds no certificate that can be read: {why}");
    let found =
        CertificateDer::pem_file_iter(file(setting, path)?).map_err(|error| wrong(error.to_string()))?;
    let found: Vec<_> = found.collect::<Result<_, _>>().map_err(|error| wrong(error.to_string()))?;
    if found.is_empty() { Err(wrong("it has none in PEM form".into())) } else { Ok(found) }
}

/// Verifies the chain of a certificate, but not its name.
#[derive(Debug)]
struct OfAnyName {
    inner: Arc<WebPkiServerVerifier>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for OfAnyName {
    fn verify_server_cert(
        &self,
        own: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        match self.inner.verify_server_cert(own, others, name, ocsp, now) {
            Err(rustls::Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            other => other,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let known = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signed, known)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let known = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signed, known)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    //! A table of addresses.
    use super::*;

    #[test]
    fn settings_of_encryption_are_taken_out() {
        for (url, rest, mode, root) in [
            ("postgres://h/d", "postgres://h/d", None, None),
            ("postgres://h/d?sslmode=verify-full", "postgres://h/d", Some("verify-full"), None),
            (
                "postgres://h/d?connect_timeout=3&sslmode=verify-ca&sslrootcert=%2Fa%20b.pem",
                "postgres://h/d?connect_timeout=3",
                Some("verify-ca"),
                Some("/a b.pem"),
            ),
            (
                "postgres://h/d?sslrootcert=system&gssencmode=disable",
                "postgres://h/d",
                Some("verify-full"),
                Some("system"),
            ),
        ] {
            let (left, security) = Security::of(url).unwrap();
            let found = (left.as_str(), security.mode.as_deref(), security.root.as_deref());
            assert_eq!(found, (rest, mode, root), "{url}");
        }
        let roots = |url: &str| Security::of(url).map(|(left, security)| (left, security.root));
        for (url, rest) in [
            ("postgres://h:1/d?sslrootcert=/a@b", "postgres://h:1/d"),
            ("postgres://u@h/d?sslrootcert=/a@b", "postgres://u@h/d"),
            ("postgres://u:x?y=z@h/d?sslrootcert=/a@b", "postgres://u:x?y=z@h/d"),
        ] {
            assert_eq!(roots(url), Ok((rest.to_owned(), Some("/a@b".to_owned()))), "{url}");
        }
        for (url, wanted) in [
            ("postgres://h/d?sslmode=verify_full", "`sslmode` of the address is one of disable"),
            ("postgres://h/d?gssencmode=require", "`gssencmode`"),
            ("postgres://h/d?sslmode=", "`sslmode`"),
        ] {
            let error = Security::of(url).unwrap_err();
            assert!(error.contains(wanted), "{url}: {error}");
        }
    }

    #[tokio::test]
    async fn what_can_t_be_honoured_is_refused_by_name() {
        for (url, wanted) in [
            (
                "postgres://u:secret@h/d?sslrootcert=/nowhere/ca.pem",
                "postgres://h/d: sslrootcert: /nowhere/ca.pem",
            ),
            ("postgres://u@h/d?sslrootcert=ca.pem", "must be an absolute path"),
            ("postgres://u@h/d?sslcert=/etc/hosts", "belong together"),
            ("postgres://u@h/d?sslrootcert=/etc/hosts", "holds no certificate"),
            ("postgres://u@h/d?sslfoo=1", "sslfoo"),
            (
                "postgres://u:x@my?secret=1@h/d",
                "postgres://…: the address of the database can't be read; write",
            ),
            ("host=h password=my secret=1", "postgres://…: the address of the database can't be read; write"),
        ] {
            let error = Address::of(url, None, Duration::from_secs(1)).await.err().unwrap().to_string();
            assert!(error.contains(wanted) && !error.contains("secret"), "{url}: {error}");
        }
    }

    #[tokio::test]
    async fn no_part_of_a_password_is_shown() {
        for (url, shown) in [
            ("postgres://u:secret@h/d", "postgres://h/d"),
            ("postgresql://u:se?cret@h:5433/d?connect_timeout=3", "postgres://h:5433/d"),
            ("postgres://u:se#cret@h/d", "postgres://h/d"),
            ("postgres://u:se/cret@h/d", "postgres://h/d"),
            ("postgres://u@h/d?password=secret", "postgres://h/d"),
            ("postgres://a:1,b:2/d", "postgres://a:1,b:2/d"),
            ("postgres://u@[::1]/d", "postgres://[::1]/d"),
            ("postgres://u@h:5432/d", "postgres://h:5432/d"),
            ("postgres:///d?host=/run/pg", "postgres:///d"),
            ("host=/run/pg,h port=1,2 dbname=d", "postgres://%2Frun%2Fpg:1,h:2/d"),
            ("host=h password=secret dbname=d", "postgres://h/d"),
            ("hostaddr=127.0.0.1 password='se?cret'", "postgres://127.0.0.1"),
            ("postgres://u:secret@cret@h/d", "postgres://…"),
            ("postgres://u:se@cret/secret@h/d", "postgres://…"),
        ] {
            let address = Address::of(url, None, Duration::from_secs(1)).await.unwrap();
            assert_eq!(address.place, shown, "{url}");
        }
    }

    #[tokio::test]
    async fn a_list_of_settings_keeps_its_encryption() {
        for (url, mode) in [
            ("host=h sslmode=require", SslMode::Require),
            ("host=h sslmode=disable", SslMode::Disable),
            ("host=h", SslMode::Prefer),
            ("postgres://h/d", SslMode::Prefer),
            ("postgres://h/d?sslmode=verify-full", SslMode::Require),
        ] {
            let address = Address::of(url, None, Duration::from_secs(1)).await.unwrap();
            assert_eq!(address.config.get_ssl_mode(), mode, "{url}");
        }
    }
}
