//! Storage for objects: a folder, or a bucket of S3-compatible storage. Names are flat, or start with
//! `pending/` or `unclaimed/`.
use super::trouble::failed;
use crate::domain::{S3Settings, ToolError};
use folder::Folder;
use s3::S3;

mod folder;
mod s3;

/// Storage for the objects of an archive.
pub(super) enum ObjectStorage {
    Folder(Folder),
    S3(Box<S3>),
}

impl ObjectStorage {
    /// Returns the location, for messages.
    pub(super) fn place(&self) -> String {
        match self {
            Self::Folder(folder) => folder.place(),
            Self::S3(bucket) => bucket.place(),
        }
    }

    /// Makes sure that the storage can be used; if it is `ours`, removes what interrupted writes have left.
    pub(super) async fn prepare(&self, ours: bool) -> Result<(), ToolError> {
        match self {
            Self::Folder(folder) => folder.prepare(ours).await,
            Self::S3(bucket) => bucket.prepare().await,
        }
    }

    /// Writes an object atomically; it is durable when this returns.
    pub(super) async fn put(&self, name: &str, bytes: Vec<u8>) -> Result<(), ToolError> {
        match self {
            Self::Folder(folder) => folder.put(name, bytes).await,
            Self::S3(bucket) => bucket.put(name, bytes).await,
        }
    }

    /// Reads an object; `None` if there is none.
    pub(super) async fn get(&self, name: &str) -> Result<Option<Vec<u8>>, ToolError> {
        match self {
            Self::Folder(folder) => folder.get(name).await,
            Self::S3(bucket) => bucket.get(name).await,
        }
    }

    /// Returns the names directly below `below` (empty, or `pending/`), sorted, without that prefix.
    pub(super) async fn list(&self, below: &str) -> Result<Vec<String>, ToolError> {
        match self {
            Self::Folder(folder) => folder.list(below).await,
            Self::S3(bucket) => bucket.list(below).await,
        }
    }

    /// Deletes an object if it exists.
    pub(super) async fn delete(&self, name: &str) -> Result<(), ToolError> {
        match self {
            Self::Folder(folder) => folder.delete(name).await,
            Self::S3(bucket) => bucket.delete(name).await,
        }
    }

    /// Reads an object; an error if it is missing.
    pub(super) async fn fetch(&self, name: &str) -> Result<Vec<u8>, ToolError> {
        self.get(name).await?.ok_or_else(|| failed(&format!("{}: {name} is missing", self.place())))
    }
}

impl ObjectStorage {
    /// Storage in this folder.
    pub(super) fn folder(path: &str) -> Self {
        Self::Folder(Folder::new(path))
    }

    /// Storage in this bucket, below our own prefix.
    pub(super) async fn bucket(settings: &S3Settings, prefix: &str) -> Result<Self, ToolError> {
        S3::open(settings, prefix).await.map(|bucket| Self::S3(Box::new(bucket)))
    }
}
