//! Objects in a bucket. A PUT is atomic, but a request sent by a killed process may still arrive later.
//! Therefore names are never reused, and an object alone does not count.
use super::failed;
use crate::domain::{S3Settings, ToolError};
use crate::s3::{Bucket, S3Error, S3ErrorKind};

/// Maximum size of an object that is read.
const MAX_OBJECT_BYTES: usize = 1 << 30;

/// A prefix in a bucket.
pub(in crate::archive) struct S3 {
    bucket: Bucket,
    place: String,
    /// Empty, or ends with a slash.
    prefix: String,
}

impl S3 {
    pub(super) async fn open(settings: &S3Settings, prefix: &str) -> Result<Self, ToolError> {
        let bucket = Bucket::open(settings).await.map_err(tool_error)?;
        let folders = [settings.prefix.as_deref().unwrap_or_default(), prefix];
        let folders: Vec<&str> = folders.into_iter().filter(|folder| !folder.is_empty()).collect();
        let place = format!("s3://{}/{}", settings.bucket, folders.join("/"));
        let prefix = if prefix.is_empty() { String::new() } else { format!("{prefix}/") };
        Ok(Self { bucket, place, prefix })
    }

    pub(super) fn place(&self) -> String {
        self.place.clone()
    }

    pub(super) async fn prepare(&self) -> Result<(), ToolError> {
        Ok(())
    }

    fn key(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    pub(super) async fn put(&self, name: &str, bytes: Vec<u8>) -> Result<(), ToolError> {
        let kind = if name.ends_with(".json") { "application/json" } else { "application/zstd" };
        self.bucket.put(&self.key(name), bytes, kind).await.map(drop).map_err(tool_error)
    }

    pub(super) async fn get(&self, name: &str) -> Result<Option<Vec<u8>>, ToolError> {
        match self.bucket.get(&self.key(name), MAX_OBJECT_BYTES).await {
            Ok(object) => Ok(Some(object.bytes)),
            Err(error) if error.kind == S3ErrorKind::NotFound => Ok(None),
            Err(error) => Err(tool_error(error)),
        }
    }

    pub(super) async fn list(&self, below: &str) -> Result<Vec<String>, ToolError> {
        let begin = self.key(below);
        let listing = self.bucket.list(&begin, None, usize::MAX).await.map_err(tool_error)?;
        let names = listing.objects.into_iter().filter_map(|object| {
            let name = object.key.strip_prefix(&begin)?;
            (!name.is_empty() && !name.contains('/')).then(|| name.to_owned())
        });
        Ok(names.collect())
    }

    pub(super) async fn delete(&self, name: &str) -> Result<(), ToolError> {
        self.bucket.delete(&self.key(name)).await.map_err(tool_error)
    }
}

fn tool_error(error: S3Error) -> ToolError {
    failed(&error.message)
}
