//! A bucket, or a key prefix in one, of S3-compatible storage: put, get, head, list, delete. For objects that fit into memory.
//!
//! Stored objects carry their SHA-256, which is verified on reading. Content-MD5 lets the server refuse corrupted uploads; it
//! is the one checksum that every compatible server supports. Requests are signed by `rusty-s3` in their URLs, so no URL is
//! ever shown.
use super::error::{S3Error, S3ErrorKind};
use super::exchange::{Answer, Reading, exchange};
use crate::domain::{S3Settings, check_object_key, hex};
use crate::{net, secret};
use base64::Engine;
use md5::Md5;
use reqwest::header::{
    CONTENT_LENGTH, CONTENT_TYPE, ETAG, HeaderMap, HeaderName, HeaderValue, LAST_MODIFIED,
};
use reqwest::{Client, Method, Request, Url};
use rusty_s3::actions::{DeleteObject, GetObject, HeadObject, ListObjectsV2, PutObject};
use rusty_s3::{Credentials, S3Action, UrlStyle};
use sha2::{Digest, Sha256};
use std::time::Duration;

/// Timeout for resolving a secret.
const SECRET_TIMEOUT: Duration = Duration::from_secs(10);
/// Timeout for connecting.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Validity of a signature. Servers tolerate this much clock skew.
const SIGNATURE_TTL: Duration = Duration::from_secs(15 * 60);
/// Keys per page of a list (ListObjectsV2: at most 1000).
const PAGE_KEYS: usize = 1000;
/// Maximum bytes of a page: keys of a kilobyte, each byte percent-encoded as three.
const MAX_PAGE_BYTES: usize = 8 << 20;
/// Metadata with an object's SHA-256, in hexadecimal.
const SHA256_HEADER: &str = "x-amz-meta-bgagent-sha256";
/// XML namespace of lists.
const NAMESPACE: &str = "http://s3.amazonaws.com/doc/2006-03-01/";

/// The addressing of a bucket.
struct Addressing<'s>(&'s S3Settings);

impl Addressing<'_> {
    /// Returns the addressing style. Amazon requires the bucket in the host name, which its certificate covers; other servers
    /// may have no host name per bucket.
    fn style(&self, endpoint: &Url) -> UrlStyle {
        let amazon = endpoint.host_str().is_some_and(|host| host.ends_with(".amazonaws.com"));
        match self.0.path_style.unwrap_or(!amazon || self.0.bucket.contains('.')) {
            true => UrlStyle::Path,
            false => UrlStyle::VirtualHost,
        }
    }

    async fn credentials(&self) -> Result<Option<Credentials>, S3Error> {
        let failed = |key: &str, error| S3Error::new(S3ErrorKind::Settings, format!("no `{key}`: {error}"));
        let (Some(id), Some(key)) = (&self.0.access_key_id, &self.0.secret_access_key) else {
            return Ok(None);
        };
        let id =
            secret::value_of(id, SECRET_TIMEOUT).await.map_err(|error| failed("access_key_id", error))?;
        let key =
            secret::resolve(key, SECRET_TIMEOUT).await.map_err(|error| failed("secret_access_key", error))?;
        let Some(token) = &self.0.session_token else {
            return Ok(Some(Credentials::new(id.expose(), key.expose())));
        };
        let token =
            secret::resolve(token, SECRET_TIMEOUT).await.map_err(|error| failed("session_token", error))?;
        Ok(Some(Credentials::new_with_token(id.expose(), key.expose(), token.expose())))
    }
}

/// A bucket that is ready for use. Connections are kept between operations.
pub struct Bucket {
    bucket: rusty_s3::Bucket,
    credentials: Option<Credentials>,
    client: Client,
    /// Empty, or a key prefix with its slash.
    prefix: String,
    timeout: Duration,
}

/// The metadata of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct About {
    /// Its length in bytes, if the server reports it.
    pub bytes: Option<u64>,
    pub modified: Option<String>,
    /// Its entity tag, without quotes. Not always a checksum.
    pub etag: Option<String>,
    pub content_type: Option<String>,
    /// SHA-256 in hexadecimal of what [`Bucket::put`] stored; `None`: stored by someone else.
    pub sha256: Option<String>,
}

/// An object that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    pub about: About,
    /// Its content, or the beginning.
    pub bytes: Vec<u8>,
    pub truncated: bool,
}

/// An object in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its key, without the prefix of the settings.
    pub key: String,
    pub bytes: u64,
    pub modified: Option<String>,
}

/// A list of objects, in byte order of their keys.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listing {
    pub objects: Vec<Listed>,
    /// There are more: repeat with the last key as `after`.
    pub more: bool,
}

impl Bucket {
    /// Resolves the secrets and creates a client. Sends no request.
    pub async fn open(settings: &S3Settings) -> Result<Self, S3Error> {
        let failed = |why: String| {
            S3Error::new(S3ErrorKind::Settings, why).at(&format!("bucket `{}`", settings.bucket))
        };
        let amazon = || format!("https://s3.{}.amazonaws.com", settings.region);
        let endpoint = settings.endpoint.clone().unwrap_or_else(amazon);
        let url = Url::parse(&endpoint).map_err(|error| failed(format!("`endpoint`: {error}")))?;
        let style = Addressing(settings).style(&url);
        let bucket = rusty_s3::Bucket::new(url, style, settings.bucket.clone(), settings.region.clone())
            .map_err(|error| failed(format!("`endpoint` and `bucket` make no address: {error:?}")))?;
        let prefix = match settings.prefix.as_deref() {
            None | Some("") => String::new(),
            Some(prefix) => {
                check_object_key(prefix).map_err(|why| failed(format!("`prefix`: {why}")))?;
                format!("{prefix}/")
            }
        };
        let credentials = Addressing(settings).credentials().await.map_err(|error| failed(error.message))?;
        let client = net::verbatim(bucket.base_url(), CONNECT_TIMEOUT).map_err(failed)?;
        Ok(Self { bucket, credentials, client, prefix, timeout: settings.timeout.unsigned_abs() })
    }

    /// Stores an object, replacing an existing one. Its content is stored completely or not at all.
    pub async fn put(&self, key: &str, bytes: Vec<u8>, content_type: &str) -> Result<About, S3Error> {
        let full = self.full(key)?;
        let sum = hex(&Sha256::digest(&bytes));
        let length = bytes.len();
        let md5 = base64::engine::general_purpose::STANDARD.encode(Md5::digest(&bytes));
        let mut headers = HeaderMap::new();
        let texts = [(CONTENT_TYPE, content_type), (HeaderName::from_static("content-md5"), &md5)];
        for (name, value) in texts.into_iter().chain([(HeaderName::from_static(SHA256_HEADER), sum.as_str())])
        {
            let bad = |_| S3Error::new(S3ErrorKind::Refused, format!("`{name}` can't hold {value:?}"));
            headers.insert(name.clone(), HeaderValue::from_str(value).map_err(bad)?);
        }
        // Without it, an empty body has no length at all, which storage servers refuse.
        headers.insert(CONTENT_LENGTH, length.into());
        let mut action = PutObject::new(&self.bucket, self.credentials.as_ref(), &full);
        action.headers_mut().insert(SHA256_HEADER, sum.clone());
        action.headers_mut().insert("content-md5", md5);
        let mut request = self.request(Method::PUT, headers);
        *request.body_mut() = Some(bytes.into());
        let answer = self.ask(request, &action, Reading { most: 0, cut: true }, Some(key)).await?;
        let mut about = About::read(&answer.headers);
        (about.bytes, about.sha256) = (Some(length as u64), Some(sum));
        Ok(about)
    }

    /// Reads an object of at most `most` bytes. A checksum mismatch is an error.
    pub async fn get(&self, key: &str, most: usize) -> Result<Object, S3Error> {
        self.read(key, Reading { most, cut: false }).await
    }

    /// Reads an object, or the beginning of one that is longer than `most` bytes.
    pub async fn get_some(&self, key: &str, most: usize) -> Result<Object, S3Error> {
        self.read(key, Reading { most, cut: true }).await
    }

    async fn read(&self, key: &str, reading: Reading) -> Result<Object, S3Error> {
        let full = self.full(key)?;
        let action = GetObject::new(&self.bucket, self.credentials.as_ref(), &full);
        let request = self.request(Method::GET, HeaderMap::new());
        let Answer { headers, body, truncated } = self.ask(request, &action, reading, Some(key)).await?;
        let about = About::read(&headers);
        let whole = !truncated;
        if whole && about.sha256.as_ref().is_some_and(|sum| *sum != hex(&Sha256::digest(&body))) {
            let why = "its content is not what was stored: its SHA-256 differs";
            return Err(S3Error::new(S3ErrorKind::Corrupt, why).at(&self.place(Some(key))));
        }
        Ok(Object { about, bytes: body, truncated })
    }

    /// Returns the metadata of an object, without reading it.
    pub async fn head(&self, key: &str) -> Result<About, S3Error> {
        let full = self.full(key)?;
        let action = HeadObject::new(&self.bucket, self.credentials.as_ref(), &full);
        let request = self.request(Method::HEAD, HeaderMap::new());
        let answer = self.ask(request, &action, Reading { most: 0, cut: true }, Some(key)).await?;
        Ok(About::read(&answer.headers))
    }

    /// Removes an object. It is no error if there is none.
    pub async fn delete(&self, key: &str) -> Result<(), S3Error> {
        let full = self.full(key)?;
        let action = DeleteObject::new(&self.bucket, self.credentials.as_ref(), &full);
        let request = self.request(Method::DELETE, HeaderMap::new());
        match self.ask(request, &action, Reading { most: 0, cut: true }, Some(key)).await {
            Err(error) if error.kind == S3ErrorKind::NotFound => Ok(()),
            other => other.map(drop),
        }
    }

    /// Lists at most `most` objects whose keys begin with `prefix`, after the key `after`.
    pub async fn list(&self, prefix: &str, after: Option<&str>, most: usize) -> Result<Listing, S3Error> {
        let mut listing = Listing::default();
        let mut after =
            after.filter(|after| !after.is_empty()).map(|after| format!("{}{after}", self.prefix));
        loop {
            let room = most - listing.objects.len();
            if room == 0 {
                return Ok(listing);
            }
            let (page, more) = self.page(prefix, after.as_deref(), room.min(PAGE_KEYS)).await?;
            listing.more = more;
            let last = page.last().map(|(full, _)| full.clone());
            listing.objects.extend(page.into_iter().filter_map(|(full, object)| {
                // Keys outside of the prefix are never accepted from the server.
                let key = full.strip_prefix(&self.prefix)?.to_owned();
                Some(Listed { key, ..object })
            }));
            match last {
                Some(last) if more && after.as_ref().is_none_or(|after| *after < last) => after = Some(last),
                _ if more => {
                    let error = S3Error::new(S3ErrorKind::Refused, "the list does not go on where it should");
                    return Err(error.at(&self.place(None)));
                }
                _ => return Ok(listing),
            }
        }
    }

    /// Returns one page of a list, with full keys; and whether there are more.
    async fn page(
        &self,
        prefix: &str,
        after: Option<&str>,
        most: usize,
    ) -> Result<(Vec<(String, Listed)>, bool), S3Error> {
        if prefix.chars().any(char::is_control) {
            return Err(S3Error::new(S3ErrorKind::Key, "the prefix has control characters"));
        }
        let full = format!("{}{prefix}", self.prefix);
        let mut action = ListObjectsV2::new(&self.bucket, self.credentials.as_ref());
        action.with_max_keys(most);
        if !full.is_empty() {
            action.with_prefix(full);
        }
        if let Some(after) = after {
            action.with_start_after(after);
        }
        let request = self.request(Method::GET, HeaderMap::new());
        let reading = Reading { most: MAX_PAGE_BYTES, cut: false };
        let answer = self.ask(request, &action, reading, None).await?;
        let parsed = std::str::from_utf8(&answer.body).map_err(|error| error.to_string()).and_then(|text| {
            ListObjectsV2::parse_response(&with_amazon_namespace(text)).map_err(|error| error.to_string())
        });
        let parsed = parsed.map_err(|why| {
            let why = format!("the list can't be read; is this S3-compatible storage? ({why})");
            S3Error::new(S3ErrorKind::Refused, why).at(&self.place(None))
        })?;
        let objects = parsed.contents.into_iter().map(|object| {
            let listed = Listed {
                key: String::new(),
                bytes: object.size.unwrap_or(0),
                modified: object.last_modified,
            };
            (object.key, listed)
        });
        Ok((objects.take(most).collect(), parsed.next_continuation_token.is_some()))
    }

    /// Returns the base URL of its objects.
    #[cfg(test)]
    pub(super) fn base(&self) -> &str {
        self.bucket.base_url().as_str()
    }

    fn request(&self, method: Method, headers: HeaderMap) -> Request {
        let mut request = Request::new(method, self.bucket.base_url().clone());
        *request.headers_mut() = headers;
        request
    }

    async fn ask<'a>(
        &'a self,
        request: Request,
        action: &impl S3Action<'a>,
        reading: Reading,
        key: Option<&str>,
    ) -> Result<Answer, S3Error> {
        let sign = || action.sign(SIGNATURE_TTL);
        let answer = exchange(&self.client, request, sign, reading, self.timeout).await;
        answer.map_err(|mut error| {
            if key.is_none() && error.kind == S3ErrorKind::NotFound {
                error.kind = S3ErrorKind::NoBucket;
            }
            if error.kind == S3ErrorKind::NotFound {
                error.message = format!("there is no such object ({})", error.message);
            }
            error.at(&self.place(key))
        })
    }

    fn full(&self, key: &str) -> Result<String, S3Error> {
        let full = format!("{}{key}", self.prefix);
        let checked = check_object_key(key).and_then(|()| check_object_key(&full));
        checked.map_err(|why| S3Error::new(S3ErrorKind::Key, why)).map(|()| full)
    }

    /// Describes key, bucket and server for messages.
    fn place(&self, key: Option<&str>) -> String {
        let bucket = format!("bucket `{}` at {}", self.bucket.name(), net::origin(self.bucket.base_url()));
        match key {
            Some(key) => format!("`{}{key}` in {bucket}", self.prefix),
            None => bucket,
        }
    }
}

impl About {
    fn read(headers: &HeaderMap) -> Self {
        let text = |name: &HeaderName| headers.get(name)?.to_str().ok().map(str::to_owned);
        let sum = text(&HeaderName::from_static(SHA256_HEADER));
        Self {
            bytes: text(&CONTENT_LENGTH).and_then(|length| length.parse().ok()),
            modified: text(&LAST_MODIFIED),
            etag: text(&ETAG).map(|etag| etag.trim_matches('"').to_owned()),
            content_type: text(&CONTENT_TYPE),
            sha256: sum.filter(|sum| sum.len() == 64 && sum.bytes().all(|byte| byte.is_ascii_hexdigit())),
        }
    }
}

/// Replaces the namespace of a list's XML by Amazon's: some servers use their own, or none.
fn with_amazon_namespace(xml: &str) -> String {
    let begin = "<ListBucketResult";
    match xml.split_once(begin).and_then(|(before, rest)| Some((before, rest.split_once('>')?.1))) {
        Some((before, rest)) => format!("{before}{begin} xmlns=\"{NAMESPACE}\">{rest}"),
        None => xml.to_owned(),
    }
}
