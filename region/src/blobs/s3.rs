//! Blobs on S3: one object a blob, its SHA-256 in the object's metadata.

use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::path::Path;
use object_store::{
    Attribute, Attributes, BackoffConfig, ClientOptions, ObjectStore, ObjectStoreExt, PutOptions, RetryConfig,
};
use sha2::{Digest, Sha256};

use super::{BlobKey, BlobPage, Blobs};
use crate::regional::tls;
use crate::{Error, Result};

const WHAT: &str = "blobs";
const CHECKSUM: &str = "selvedge-sha256";
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const RETRIES_WITHIN: Duration = Duration::from_secs(10);
const RETRY_AFTER_MS: u64 = 1000;
/// Where nothing lies but what a start tries writing with.
const PROBE: &str = "probe";
/// How the client begins to tell of a bucket that is in another place.
const REDIRECTED: &str = "Received redirect";
/// How the client begins to tell of an answer that it takes for a refusal.
const ANSWERED: [&str; 2] = ["Server returned non-2xx status code: ", "Server returned error response: "];

/// The bucket of a region.
#[derive(Debug, Clone)]
pub struct S3Options {
    /// The bucket; it has to be there.
    pub bucket: String,
    /// AWS' name of its place, e.g. `eu-central-1`.
    pub region: String,
    /// `http://host:port` of an emulator or another S3; `None`: AWS.
    pub endpoint: Option<String>,
    /// Access key and secret; `None`: as the environment and the machine's role say.
    pub keys: Option<(String, String)>,
    /// Put before every key; empty in production.
    pub prefix: String,
}

/// The blobs of a region on S3.
pub struct S3Blobs {
    store: AmazonS3,
    prefix: String,
}

impl S3Blobs {
    /// Blobs in that bucket. Nothing is asked of it yet.
    ///
    /// # Errors
    /// `Invalid` when the options make no sense.
    pub fn new(options: S3Options) -> Result<Self> {
        tls::use_ring();
        let retry = RetryConfig {
            backoff: BackoffConfig { max_backoff: Duration::from_secs(2), ..BackoffConfig::default() },
            max_retries: 2,
            retry_timeout: RETRIES_WITHIN,
        };
        let client = ClientOptions::new()
            .with_timeout(ANSWER_TIMEOUT)
            .with_connect_timeout(CONNECT_TIMEOUT)
            .with_allow_http(options.endpoint.is_some());
        let mut builder = AmazonS3Builder::from_env()
            .with_bucket_name(options.bucket)
            .with_region(options.region)
            .with_client_options(client)
            .with_retry(retry);
        if let Some(endpoint) = options.endpoint {
            builder = builder.with_endpoint(endpoint).with_virtual_hosted_style_request(false);
        }
        if let Some((key, secret)) = options.keys {
            builder = builder.with_access_key_id(key).with_secret_access_key(secret);
        }
        let store = builder.build().map_err(|error| Error::Invalid(format!("the S3 options: {error}")))?;
        Ok(Self { store, prefix: options.prefix })
    }

    fn path(&self, key: &BlobKey) -> Result<Path> {
        Path::parse(format!("{}{key}", self.prefix)).map_err(|error| Error::Invalid(error.to_string()))
    }

    /// Whether the bucket is there and may be read by this process: asks for what lies where nothing does.
    ///
    /// # Errors
    /// `NotFound` when there is no such bucket and `Failed` when S3 refuses, which do not pass by themselves; `Unavailable` or
    /// `Throttled` when it does not answer now.
    pub(crate) async fn look(&self) -> Result<()> {
        let answered = self.store.list(Some(&self.probe()?)).next().await;
        answered.map_or(Ok(()), |object| object.map(drop)).map_err(of_bucket)
    }

    /// Whether this process may write and remove objects: does both with one.
    ///
    /// # Errors
    /// As [`S3Blobs::look`].
    pub(crate) async fn try_writing(&self) -> Result<()> {
        let probe = self.probe()?;
        self.store.put(&probe, Vec::new().into()).await.map_err(of_bucket)?;
        match self.store.delete(&probe).await {
            // Somebody else who starts was faster.
            Err(object_store::Error::NotFound { .. }) => Ok(()),
            deleted => deleted.map_err(of_bucket),
        }
    }

    fn probe(&self) -> Result<Path> {
        Path::parse(format!("{}{PROBE}", self.prefix)).map_err(|error| Error::Invalid(error.to_string()))
    }

    /// Overwrites an object's bytes under the checksum it has: damage, for the contract suite.
    pub(crate) async fn damage(&self, key: &BlobKey) -> Result<()> {
        let (bytes, kept) = self.fetch(key).await?;
        let mut bytes = bytes;
        if let Some(last) = bytes.last_mut() {
            *last ^= 1;
        }
        self.write(key, bytes, kept).await
    }

    async fn write(&self, key: &BlobKey, bytes: Vec<u8>, checksum: Option<String>) -> Result<()> {
        let mut attributes = Attributes::new();
        if let Some(checksum) = checksum {
            attributes.insert(Attribute::Metadata(CHECKSUM.into()), checksum.into());
        }
        let options = PutOptions { attributes, ..PutOptions::default() };
        self.store
            .put_opts(&self.path(key)?, bytes.into(), options)
            .await
            .map(|_| ())
            .map_err(|error| failed(key, error))
    }

    /// The object's bytes and the checksum it carries.
    async fn fetch(&self, key: &BlobKey) -> Result<(Vec<u8>, Option<String>)> {
        let found = self.store.get(&self.path(key)?).await.map_err(|error| failed(key, error))?;
        let kept = found.attributes.get(&Attribute::Metadata(CHECKSUM.into())).map(|kept| kept.as_ref().to_owned());
        let bytes = found.bytes().await.map_err(|error| failed(key, error))?;
        Ok((bytes.to_vec(), kept))
    }
}

fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Blobs for S3Blobs {
    fn put<'a>(&'a self, key: &'a BlobKey, bytes: Vec<u8>) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            let checksum = hex(&bytes);
            self.write(key, bytes, Some(checksum)).await
        })
    }

    fn get<'a>(&'a self, key: &'a BlobKey) -> BoxFuture<'a, Result<Vec<u8>>> {
        Box::pin(async move {
            let (bytes, kept) = self.fetch(key).await?;
            let detail = match kept {
                Some(kept) if kept == hex(&bytes) => return Ok(bytes),
                Some(_) => "it fails its checksum",
                None => "it carries no checksum",
            };
            Err(Error::Corrupt { what: format!("blob {key}"), detail: detail.to_owned() })
        })
    }

    fn delete<'a>(&'a self, key: &'a BlobKey) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            match self.store.delete(&self.path(key)?).await {
                Err(object_store::Error::NotFound { .. }) => Ok(()),
                deleted => deleted.map_err(|error| failed(key, error)),
            }
        })
    }

    fn list<'a>(
        &'a self,
        prefix: &'a str,
        after: Option<&'a BlobKey>,
        limit: usize,
    ) -> BoxFuture<'a, Result<BlobPage>> {
        Box::pin(async move {
            let whole = format!("{}{prefix}", self.prefix);
            // The client lists below whole segments; what is left of the prefix is looked at here.
            let folder = whole.rsplit_once('/').map_or("", |(folder, _)| folder);
            let invalid = |error: object_store::path::Error| Error::Invalid(error.to_string());
            let folder = if folder.is_empty() { None } else { Some(Path::parse(folder).map_err(invalid)?) };
            let mut objects = match after {
                Some(after) => self.store.list_with_offset(folder.as_ref(), &self.path(after)?),
                None => self.store.list(folder.as_ref()),
            };
            let mut keys: Vec<BlobKey> = Vec::new();
            while let Some(object) = objects.next().await {
                let object = object.map_err(|error| failed_at(prefix, error))?;
                let key = object.location.as_ref().strip_prefix(&self.prefix).filter(|key| key.starts_with(prefix));
                // Objects that others put there are no blobs.
                if let Some(key) = key.and_then(|key| key.parse::<BlobKey>().ok()) {
                    if keys.len() == limit {
                        let next = keys.last().cloned();
                        return Ok(BlobPage { keys, next });
                    }
                    keys.push(key);
                }
            }
            Ok(BlobPage { keys, next: None })
        })
    }
}

fn failed(key: &BlobKey, error: object_store::Error) -> Error {
    failed_at(key.as_str(), error)
}

/// S3's words in the region's.
fn failed_at(key: &str, error: object_store::Error) -> Error {
    match error {
        object_store::Error::NotFound { .. } => Error::NotFound { what: format!("blob {key}") },
        error @ object_store::Error::Generic { .. } => {
            let answer = refusal(&error).unwrap_or_default();
            // Its being away is a 503, too: the code in the body tells them apart.
            if answer.starts_with("429") || answer.contains("<Code>SlowDown</Code>") {
                return Error::Throttled { what: WHAT, retry_after_ms: RETRY_AFTER_MS };
            }
            if answer.starts_with("507") || answer.contains("<Code>QuotaExceeded</Code>") {
                return Error::Full { what: WHAT, source: Some(error.into()) };
            }
            Error::Unavailable { what: WHAT, source: Some(error.into()) }
        }
        error => Error::Failed { what: WHAT, source: error.into() },
    }
}

/// S3's words on the bucket itself: that it is not there, or refused, is told from its being away.
fn of_bucket(error: object_store::Error) -> Error {
    let answer = refusal(&error).unwrap_or_default();
    let refused = answer.starts_with('4') && !["408", "429"].iter().any(|passing| answer.starts_with(passing));
    match error {
        object_store::Error::NotFound { .. } => Error::NotFound { what: "such bucket".to_owned() },
        object_store::Error::Generic { .. } if answer.starts_with("404") => {
            Error::NotFound { what: "such bucket".to_owned() }
        }
        error @ object_store::Error::Generic { .. } if refused || is_elsewhere(&error) => {
            Error::Failed { what: WHAT, source: error.into() }
        }
        error => failed_at(PROBE, error),
    }
}

/// Whether the bucket is in another of AWS' regions than the one asked.
fn is_elsewhere(error: &object_store::Error) -> bool {
    causes(error).any(|cause| cause.to_string().starts_with(REDIRECTED))
}

fn causes(error: &object_store::Error) -> impl Iterator<Item = &(dyn std::error::Error + 'static)> {
    std::iter::successors(Some(error as &(dyn std::error::Error + 'static)), |error| error.source())
}

/// What S3 answered, `STATUS: BODY`; `None` when no answer came. The client keeps it only as the text of an inner cause; outer
/// ones quote addresses and times, in which any digits may stand.
fn refusal(error: &object_store::Error) -> Option<String> {
    causes(error)
        .map(ToString::to_string)
        .find_map(|text| ANSWERED.iter().find_map(|begin| Some(text.strip_prefix(begin)?.to_owned())))
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    fn blobs(endpoint: String, prefix: &str) -> S3Blobs {
        let options = S3Options {
            bucket: "contract".to_owned(),
            region: "eu-central-1".to_owned(),
            endpoint: Some(endpoint),
            keys: Some(("key".to_owned(), "secret".to_owned())),
            prefix: prefix.to_owned(),
        };
        S3Blobs::new(options).expect("options")
    }

    /// An S3 that answers everything alike.
    async fn answering(status: &'static str, body: &'static str) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        tokio::spawn(async move {
            while let Ok((mut connection, _)) = listener.accept().await {
                let length = body.len();
                let head = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
                // What was asked does not matter; whoever hangs up early asks again.
                let _ = connection.read(&mut [0; 8192]).await;
                let _ = connection.write_all(format!("{head}{body}").as_bytes()).await;
            }
        });
        format!("http://{address}")
    }

    #[tokio::test]
    async fn a_bucket_that_is_missing_or_forbidden_is_told_from_one_that_is_away() {
        let error =
            |code: &str| format!("<Error><Code>{code}</Code><Message>no</Message></Error>").leak() as &'static str;
        let listed = "<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>";
        let cases = [
            ("200 OK", listed, None),
            ("404 Not Found", error("NoSuchBucket"), Some("not_found")),
            ("403 Forbidden", error("AccessDenied"), Some("failed")),
            ("400 Bad Request", error("AuthorizationHeaderMalformed"), Some("failed")),
            ("301 Moved Permanently", error("PermanentRedirect"), Some("failed")),
            ("503 Service Unavailable", error("ServiceUnavailable"), Some("unavailable")),
        ];
        for (status, body, expected) in cases {
            let looked = blobs(answering(status, body).await, "").look().await;
            assert_eq!(looked.as_ref().err().map(Error::kind), expected, "{status}: {looked:?}");
        }
        let looked = blobs("http://127.0.0.1:9".to_owned(), "").look().await;
        assert_eq!(looked.as_ref().err().map(Error::kind), Some("unavailable"), "{looked:?}");
        let written = blobs(answering("403 Forbidden", error("AccessDenied")).await, "").try_writing().await;
        assert_eq!(written.as_ref().err().map(Error::kind), Some("failed"), "{written:?}");
    }

    #[tokio::test]
    async fn what_an_error_quotes_is_no_status() {
        // Nobody listens on the discard port.
        let blobs = blobs("http://127.0.0.1:9".to_owned(), "507/429/SlowDown/QuotaExceeded/");
        let error = blobs.get(&"a/b".parse().expect("key")).await.expect_err("nobody listens");
        assert_eq!(error.kind(), "unavailable", "{error}");
    }
}
