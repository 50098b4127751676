//! Tests of the shared HTTP clients.
use super::*;

#[test]
fn shows_only_where_an_address_leads() {
    let origin_of = |text: &str| origin(&Url::parse(text).unwrap());
    assert_eq!(origin_of("https://user:pw@hooks.example.com/T0/B1?key=x#y"), "https://hooks.example.com");
    assert_eq!(origin_of("http://127.0.0.1:8080/a"), "http://127.0.0.1:8080");
    assert_eq!(origin_of("http://[::1]:8080/a"), "http://[::1]:8080");
}

#[test]
fn knows_this_machine() {
    let local = |text: &str| is_this_machine(&Url::parse(text).unwrap());
    assert!(local("http://127.0.0.1:1/"));
    assert!(local("http://[::1]/"));
    assert!(local("http://LOCALHOST/"));
    assert!(!local("http://localhost.example.com/"));
    assert!(!local("http://10.0.0.1/"));
}

#[test]
fn a_client_without_roots_can_be_made() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    Client::builder().tls_certs_only([]).build().unwrap();
    client(&Url::parse("http://127.0.0.1/").unwrap(), Redirects::Refuse).unwrap();
}
