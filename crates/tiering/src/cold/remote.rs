//! Object stores by their address: `s3://BUCKET/PREFIX`, `gs://BUCKET/PREFIX`, `az://CONTAINER/PREFIX`. Which of
//! them a build knows, its features say.

#[cfg(feature = "remote")]
mod bucket;
#[cfg(feature = "remote")]
mod connect;
#[cfg(feature = "remote")]
mod service;
#[cfg(all(test, feature = "s3"))]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use super::objects::{ObjectError, Objects};

/// What an address alone does not say: where the store is, and by which right it is asked. Names are those of
/// `object_store`'s configuration (`aws_endpoint`, `aws_access_key_id`, `google_service_account`,
/// `azure_storage_account_key`, ...); environment variables of the same names in capitals count where one is
/// not given. Values are not shown.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct OpenOptions {
    /// By name.
    pub values: BTreeMap<String, String>,
    /// How long calls are tried.
    pub patience: Patience,
}

/// How long a call is tried before it is an error, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// For a connection.
    pub connect_ms: u64,
    /// For a request, from its first byte to the last of its answer.
    pub request_ms: u64,
    /// After which no request is repeated.
    pub retry_ms: u64,
    /// The pause before a request is repeated, at first; it grows to 30 times of this.
    pub pause_ms: u64,
    /// Times that a request is repeated at most.
    pub retries: usize,
}

impl Default for Patience {
    fn default() -> Self {
        Self { connect_ms: 5_000, request_ms: 120_000, retry_ms: 60_000, pause_ms: 100, retries: 6 }
    }
}

impl fmt::Debug for OpenOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&String> = self.values.keys().collect();
        let Self { patience, .. } = self;
        f.debug_struct("OpenOptions").field("values", &names).field("patience", patience).finish()
    }
}

/// Whether `text` is the address of an object store rather than a path.
pub fn is_url(text: &str) -> bool {
    text.contains("://")
}

/// The object store of an address, and the root in it. Nothing is asked of it yet.
///
/// # Errors
/// The address is none, of a kind that this build does not know, or an option is wrong.
pub fn open_url(url: &str, options: &OpenOptions) -> Result<Arc<dyn Objects>, ObjectError> {
    let address = Address::parse(url).map_err(ObjectError::Refused)?;
    open(&address, options)
}

/// An address in its parts.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Address {
    kind: Kind,
    bucket: String,
    /// Without slashes at its ends; empty: the whole bucket.
    prefix: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    S3,
    Gcs,
    Azure,
}

impl Address {
    fn parse(url: &str) -> Result<Self, String> {
        // The address itself is not repeated where it may hold a key.
        let (scheme, rest) =
            url.split_once("://").ok_or("it is no address: write s3://BUCKET/PREFIX")?;
        let kind = match scheme {
            "s3" => Kind::S3,
            "gs" => Kind::Gcs,
            "az" => Kind::Azure,
            _ => {
                return Err(format!(
                    "{scheme}:// is no kind of object store: write s3://, gs:// or az://"
                ));
            }
        };
        if rest.contains(['@', '?', '#']) {
            let what = "an address holds a bucket and a prefix, and neither '@', '?' nor '#': keys and options are \
                        environment variables or options of their own";
            return Err(what.to_owned());
        }
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        if bucket.is_empty() {
            return Err(format!("{url} names no bucket"));
        }
        let prefix = prefix.trim_matches('/');
        if prefix.split('/').any(|part| part == "." || part == "..") || prefix.contains("//") {
            return Err(format!("{url} has a prefix with '.', '..' or an empty part"));
        }
        Ok(Self { kind, bucket: bucket.to_owned(), prefix: prefix.to_owned() })
    }
}

#[cfg(feature = "remote")]
fn open(address: &Address, options: &OpenOptions) -> Result<Arc<dyn Objects>, ObjectError> {
    let store = connect::store(address, options)?;
    Ok(Arc::new(bucket::RemoteObjects::new(store, &address.prefix)?))
}

#[cfg(not(feature = "remote"))]
fn open(address: &Address, _options: &OpenOptions) -> Result<Arc<dyn Objects>, ObjectError> {
    Err(unknown(address.kind))
}

/// The error of a kind that this build lacks.
#[cfg_attr(all(feature = "s3", feature = "gcs", feature = "azure"), allow(dead_code))]
fn unknown(kind: Kind) -> ObjectError {
    let (kind, feature) = match kind {
        Kind::S3 => ("S3", "s3"),
        Kind::Gcs => ("Google Cloud Storage", "gcs"),
        Kind::Azure => ("Azure Blob Storage", "azure"),
    };
    let what = format!(
        "this build does not know {kind}: build it with the feature `{feature}` or `remote`"
    );
    ObjectError::Refused(what)
}

#[cfg(test)]
mod address_tests {
    use super::*;

    #[test]
    fn an_address_is_a_kind_a_bucket_and_a_prefix_and_holds_no_key() {
        let address = |kind, bucket: &str, prefix: &str| {
            Ok(Address { kind, bucket: bucket.to_owned(), prefix: prefix.to_owned() })
        };
        assert_eq!(Address::parse("s3://b"), address(Kind::S3, "b", ""));
        assert_eq!(Address::parse("gs://b/"), address(Kind::Gcs, "b", ""));
        assert_eq!(Address::parse("az://b/x/y z/"), address(Kind::Azure, "b", "x/y z"));
        let wrong = [
            "b",
            "ftp://b",
            "s3://",
            "s3:///x",
            "s3://b/../c",
            "s3://b/a//b",
            "s3://KEY:SECRET@b/x",
            "s3://b/x?secret=SECRET",
        ];
        for url in wrong {
            let error = Address::parse(url).err().unwrap_or_default();
            assert!(!error.is_empty() && !error.contains("SECRET"), "{url}: {error}");
        }
        assert!(is_url("s3://b") && !is_url("/a/b") && !is_url("b:c"));
    }

    #[test]
    fn options_are_shown_without_their_values() {
        let values = [("aws_secret_access_key".to_owned(), "SECRET".to_owned())].into();
        let shown = format!("{:?}", OpenOptions { values, ..OpenOptions::default() });
        assert!(shown.contains("aws_secret_access_key") && !shown.contains("SECRET"), "{shown}");
    }

    #[cfg(not(feature = "remote"))]
    #[test]
    fn a_build_without_buckets_says_how_to_get_one_with_them() {
        let error = open_url("s3://b/x", &OpenOptions::default()).err();
        let error = error.map(|error| error.to_string()).unwrap_or_default();
        assert!(error.contains("feature `s3`"), "{error}");
    }
}
