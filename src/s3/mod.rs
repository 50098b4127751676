//! A client for S3-compatible storage: a bucket, or a key prefix in one. For the tool `s3`, and for archives.
mod bucket;
mod error;
mod exchange;

pub use bucket::{About, Bucket, Listed, Listing, Object};
pub use error::{S3Error, S3ErrorKind};

#[cfg(test)]
mod tests;
