//! Clients of the kinds of store, from an address, options and the environment.

use std::sync::Arc;
use std::time::Duration;

use object_store::{BackoffConfig, ObjectStore, RetryConfig};

use super::service::Connector;
use super::{Address, Kind, ObjectError, OpenOptions, Patience};

/// The client of an address.
///
/// # Errors
/// Its kind is not known to this build, or an option is wrong; no value of one is repeated.
pub(super) fn store(
    address: &Address,
    options: &OpenOptions,
) -> Result<Arc<dyn ObjectStore>, ObjectError> {
    // The one that was chosen first stays; this process has no other.
    let _ = rustls::crypto::ring::default_provider().install_default();
    match address.kind {
        #[cfg(feature = "s3")]
        Kind::S3 => s3(address, options),
        #[cfg(feature = "gcs")]
        Kind::Gcs => gcs(address, options),
        #[cfg(feature = "azure")]
        Kind::Azure => azure(address, options),
        #[cfg(not(all(feature = "s3", feature = "gcs", feature = "azure")))]
        kind => Err(super::unknown(kind)),
    }
}

#[cfg(feature = "s3")]
fn s3(address: &Address, options: &OpenOptions) -> Result<Arc<dyn ObjectStore>, ObjectError> {
    use object_store::aws::AmazonS3Builder;
    let mut builder = AmazonS3Builder::from_env();
    for (name, value) in &options.values {
        builder = builder.with_config(name.parse().map_err(|_| wrong(name))?, value);
    }
    builder = builder
        .with_bucket_name(&address.bucket)
        .with_http_connector(Connector)
        .with_retry(retries(&options.patience))
        // Not every store that speaks S3 knows how to remove many at once.
        .with_disable_bulk_delete(true);
    for (key, value) in client(&options.patience) {
        builder = builder.with_config(object_store::aws::AmazonS3ConfigKey::Client(key), value);
    }
    builder.build().map(|store| Arc::new(store) as _).map_err(told)
}

#[cfg(feature = "gcs")]
fn gcs(address: &Address, options: &OpenOptions) -> Result<Arc<dyn ObjectStore>, ObjectError> {
    use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey};
    let mut builder = GoogleCloudStorageBuilder::from_env();
    for (name, value) in &options.values {
        builder = builder.with_config(name.parse().map_err(|_| wrong(name))?, value);
    }
    builder = builder
        .with_bucket_name(&address.bucket)
        .with_http_connector(Connector)
        .with_retry(retries(&options.patience));
    for (key, value) in client(&options.patience) {
        builder = builder.with_config(GoogleConfigKey::Client(key), value);
    }
    builder.build().map(|store| Arc::new(store) as _).map_err(told)
}

#[cfg(feature = "azure")]
fn azure(address: &Address, options: &OpenOptions) -> Result<Arc<dyn ObjectStore>, ObjectError> {
    use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
    let mut builder = MicrosoftAzureBuilder::from_env();
    for (name, value) in &options.values {
        builder = builder.with_config(name.parse().map_err(|_| wrong(name))?, value);
    }
    builder = builder
        .with_container_name(&address.bucket)
        .with_http_connector(Connector)
        .with_retry(retries(&options.patience));
    for (key, value) in client(&options.patience) {
        builder = builder.with_config(AzureConfigKey::Client(key), value);
    }
    builder.build().map(|store| Arc::new(store) as _).map_err(told)
}

fn client(patience: &Patience) -> [(object_store::ClientConfigKey, String); 3] {
    use object_store::ClientConfigKey::{ConnectTimeout, PoolIdleTimeout, Timeout};
    let ms = |ms: u64| format!("{ms} ms");
    [
        (ConnectTimeout, ms(patience.connect_ms)),
        (Timeout, ms(patience.request_ms)),
        // Between two calls nobody looks whether the other side has closed a connection.
        (PoolIdleTimeout, ms(5_000)),
    ]
}

fn retries(patience: &Patience) -> RetryConfig {
    let init_backoff = Duration::from_millis(patience.pause_ms);
    let backoff = BackoffConfig { init_backoff, max_backoff: 30 * init_backoff, base: 2.0 };
    let retry_timeout = Duration::from_millis(patience.retry_ms);
    RetryConfig { backoff, max_retries: patience.retries, retry_timeout }
}

fn wrong(name: &str) -> ObjectError {
    ObjectError::Refused(format!("{name} is no option of this kind of object store"))
}

/// What a builder says names options, not what they are.
fn told(error: object_store::Error) -> ObjectError {
    ObjectError::Refused(error.to_string())
}
