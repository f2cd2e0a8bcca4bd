//! Opens a bucket at its provider: options, credentials, retries, time limits.
//!
//! Of the environment only names that begin as the provider's own do are taken, and unknown ones ignored;
//! an unknown name among the options is an error, because someone meant something by it.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey};
use object_store::path::Path as ObjectPath;
use object_store::{BackoffConfig, Certificate, ClientOptions, ObjectStore, ObjectStoreScheme, RetryConfig};

use super::{Bucket, StoreError, without_credentials};

/// Tries of one request; its time ends first, unless answers come very quickly.
const RETRIES_MAX: usize = 30;
/// Pauses between tries grow from the first to the second.
const PAUSE_FIRST: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(5);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

pub(super) fn open(bucket: &Bucket) -> Result<(Arc<dyn ObjectStore>, ObjectPath), StoreError> {
    let location = without_credentials(bucket.url.as_str());
    let failed = |source: object_store::Error| StoreError::Store { location: location.clone(), source };
    let setting = |reason: String| StoreError::Setting { location: location.clone(), reason };
    let (scheme, path) = ObjectStoreScheme::parse(&bucket.url).map_err(|error| setting(error.to_string()))?;
    let root = ObjectPath::parse(path).map_err(|error| failed(error.into()))?;
    let client = client_options(bucket).map_err(setting)?;
    let retry = RetryConfig {
        backoff: BackoffConfig { init_backoff: PAUSE_FIRST, max_backoff: PAUSE_MAX, base: 2.0 },
        max_retries: RETRIES_MAX,
        retry_timeout: bucket.limits.retry,
    };
    let url = bucket.url.as_str();
    let store: Arc<dyn ObjectStore> = match scheme {
        ObjectStoreScheme::AmazonS3 => {
            let mut builder = AmazonS3Builder::new().with_url(url).with_retry(retry).with_client_options(client);
            for (key, value) in settings::<AmazonS3ConfigKey>("aws_", &bucket.options).map_err(setting)? {
                let is_plain = key == AmazonS3ConfigKey::Endpoint && value.starts_with("http://");
                builder = builder.with_config(key, value);
                if is_plain {
                    builder = builder.with_allow_http(true);
                }
            }
            Arc::new(builder.build().map_err(failed)?)
        }
        ObjectStoreScheme::GoogleCloudStorage => {
            let mut builder =
                GoogleCloudStorageBuilder::new().with_url(url).with_retry(retry).with_client_options(client);
            for (key, value) in settings::<GoogleConfigKey>("google_", &bucket.options).map_err(setting)? {
                builder = builder.with_config(key, value);
            }
            Arc::new(builder.build().map_err(failed)?)
        }
        ObjectStoreScheme::MicrosoftAzure => {
            let mut builder = MicrosoftAzureBuilder::new().with_url(url).with_retry(retry).with_client_options(client);
            for (key, value) in settings::<AzureConfigKey>("azure_", &bucket.options).map_err(setting)? {
                builder = builder.with_config(key, value);
            }
            Arc::new(builder.build().map_err(failed)?)
        }
        _ => return Err(setting("s3://, gs://, az:// and file:/// are known".to_owned())),
    };
    Ok((store, root))
}

fn client_options(bucket: &Bucket) -> Result<ClientOptions, String> {
    let mut client = ClientOptions::new().with_timeout(bucket.limits.timeout).with_connect_timeout(CONNECT_TIMEOUT);
    if let Some(path) = &bucket.limits.ca_file {
        let pem = std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
        let all = Certificate::from_pem_bundle(&pem).map_err(|error| format!("{}: {error}", path.display()))?;
        for certificate in all {
            client = client.with_root_certificate(certificate);
        }
    }
    Ok(client)
}

/// The environment's settings of a provider, then those of the options over them.
fn settings<K: FromStr>(prefix: &str, options: &BTreeMap<String, String>) -> Result<Vec<(K, String)>, String> {
    let of_environment = std::env::vars().map(|(name, value)| (name.to_ascii_lowercase(), value));
    let mut all: Vec<(K, String)> = of_environment
        .filter(|(name, value)| name.starts_with(prefix) && !value.is_empty())
        .filter_map(|(name, value)| Some((name.parse().ok()?, value)))
        .collect();
    for (name, value) in options {
        let key = name.to_ascii_lowercase().parse();
        all.push((key.map_err(|_| format!("option {name} is unknown"))?, value.clone()));
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::super::{Location, RequestLimits};
    use super::*;

    #[test]
    fn options_are_checked() {
        let check = |url: &str, options: &[(&str, &str)], expected: Result<(), &str>| {
            let options = options.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
            let location = Location::parse(url, &options, &RequestLimits::default()).expect("a URL");
            match (location.open(None), expected) {
                (Ok(_), Ok(())) => {}
                (Err(error), Err(text)) => assert!(error.to_string().contains(text), "{url}: {error}"),
                (opened, _) => panic!("{url}: {opened:?} instead of {expected:?}"),
            }
        };
        let key = [("aws_access_key_id", "a"), ("aws_secret_access_key", "b")];
        check("s3://bucket/x", &key, Ok(()));
        check("s3://bucket/x", &[("aws_endpoint", "http://127.0.0.1:1"), key[0], key[1]], Ok(()));
        check("s3://bucket/x", &[("aws_endpiont", "http://127.0.0.1:1")], Err("option aws_endpiont is unknown"));
        check("ftp://host/x", &[], Err("ftp"));
    }

    #[test]
    fn a_file_of_authorities_must_be_readable() {
        let limits = RequestLimits { ca_file: Some("/no/such.pem".into()), ..RequestLimits::default() };
        let location = Location::parse("s3://bucket/x", &BTreeMap::new(), &limits).expect("a URL");
        assert!(location.open(None).expect_err("no such file").to_string().contains("/no/such.pem"));
    }
}
