//! Loki's blocks that name a bucket, and what they mean for the table.
//!
//! ```text
//! common.storage.{s3, gcs, azure}   storage_config.{aws, gcs, azure}  ─▶ s3://bucket + options
//! millrace.table.{url, options}                                       ─▶ wins over both
//! ```
//!
//! The table of a Loki bucket lies below `millrace/logs`, so that Loki's own objects are left alone.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::config::Config;
use crate::files::fields::LineLayout;
use crate::store::{Location, RequestLimits, StoreError};
use crate::types::units::GoDuration;

/// Where the table lies in a bucket that is shared with Loki.
const PATH_IN_LOKIS_BUCKET: &str = "millrace/logs";

/// Loki's `s3_storage_config`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct S3Config {
    /// `s3://key:secret@region/bucket`, or with an endpoint's host in place of the region.
    pub s3: Option<String>,
    /// Loki spreads over several; here it is one.
    pub bucketnames: Option<String>,
    pub endpoint: Option<String>,
    pub region: Option<String>,
    pub access_key_id: Option<String>,
    pub secret_access_key: Option<String>,
    pub session_token: Option<String>,
    /// Plain HTTP.
    pub insecure: bool,
    pub s3forcepathstyle: bool,
    pub http_config: S3HttpConfig,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct S3HttpConfig {
    pub insecure_skip_verify: bool,
    pub ca_file: Option<PathBuf>,
}

/// Loki's `gcs_storage_config`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct GcsConfig {
    pub bucket_name: Option<String>,
    /// The key's JSON itself.
    pub service_account: Option<String>,
}

/// Loki's `azure_storage_config`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct AzureConfig {
    pub account_name: Option<String>,
    pub account_key: Option<String>,
    pub container_name: Option<String>,
    pub endpoint_suffix: Option<String>,
    pub client_id: Option<String>,
    pub client_secret: Option<String>,
    pub tenant_id: Option<String>,
}

/// Loki's `common.storage`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct CommonStorageConfig {
    pub s3: S3Config,
    pub gcs: GcsConfig,
    pub azure: AzureConfig,
}

/// Where the table lies.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TableConfig {
    /// None: Loki's bucket if one is named, else `logs` in the data directory.
    pub url: Option<String>,
    pub options: BTreeMap<String, String>,
    /// How files keep lines that are JSON.
    pub lines: LineLayout,
    /// How often commits of other processes are looked for, when the table is shared.
    pub follow_interval: GoDuration,
    /// How long a process that shares the table may be silent before another does its upkeep.
    pub lease_term: GoDuration,
    /// One request to a bucket.
    pub request_timeout: GoDuration,
    /// How long a request that fails is tried again.
    pub retry_timeout: GoDuration,
    /// PEM file of authorities to trust beside the system's.
    pub ca_file: Option<PathBuf>,
}

/// Where `millrace backup` keeps backups when it is not told.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct BackupConfig {
    pub url: Option<String>,
    pub options: BTreeMap<String, String>,
}

impl Default for TableConfig {
    fn default() -> Self {
        TableConfig {
            url: None,
            options: BTreeMap::new(),
            lines: LineLayout::Fields,
            follow_interval: GoDuration::from_secs(1),
            lease_term: GoDuration::from_secs(30),
            request_timeout: GoDuration::from_secs(60),
            retry_timeout: GoDuration::from_secs(180),
            ca_file: None,
        }
    }
}

impl TableConfig {
    pub(super) fn limits(&self) -> RequestLimits {
        RequestLimits {
            timeout: self.request_timeout.to_std(),
            retry: self.retry_timeout.to_std(),
            ca_file: self.ca_file.clone(),
        }
    }
}

/// A bucket as Loki's settings name it.
#[derive(Debug, Default, PartialEq, Eq)]
struct Named {
    /// `s3://bucket`, without a path.
    url: String,
    options: BTreeMap<String, String>,
    ca_file: Option<PathBuf>,
}

impl Config {
    /// Whether other processes may write the table too.
    pub fn table_is_shared(&self) -> bool {
        self.millrace.table.url.is_some() || self.table_location().is_ok_and(|table| table.is_bucket())
    }

    /// Where the table lies.
    ///
    /// # Errors
    /// A URL that is none, or settings of Loki's that do not make one bucket.
    pub fn table_location(&self) -> Result<Location, StoreError> {
        let table = &self.millrace.table;
        let mut limits = table.limits();
        if let Some(url) = &table.url {
            return Location::parse(url, &table.options, &limits);
        }
        let setting = |reason| StoreError::Setting { location: "Loki's bucket".to_owned(), reason };
        let Some(named) = self.lokis_bucket().map_err(setting)? else {
            return Ok(Location::Directory(self.data_dir().join("logs")));
        };
        limits.ca_file = limits.ca_file.or(named.ca_file);
        let mut options = named.options;
        options.extend(table.options.clone());
        Location::parse(&format!("{}/{PATH_IN_LOKIS_BUCKET}", named.url), &options, &limits)
    }

    fn lokis_bucket(&self) -> Result<Option<Named>, String> {
        let (common, older) = (&self.common.storage, &self.storage_config);
        for s3 in [&common.s3, &older.aws] {
            if let Some(named) = s3.bucket()? {
                return Ok(Some(named));
            }
        }
        let gcs = [&common.gcs, &older.gcs].into_iter().find_map(GcsConfig::bucket);
        Ok(gcs.or_else(|| [&common.azure, &older.azure].into_iter().find_map(AzureConfig::bucket)))
    }
}

impl S3Config {
    /// The bucket, if these settings name one.
    fn bucket(&self) -> Result<Option<Named>, String> {
        let mut named = Named { ca_file: self.http_config.ca_file.clone(), ..Named::default() };
        let mut bucket = None;
        if let Some(text) = &self.s3 {
            bucket = self.read_url(text, &mut named.options)?;
        }
        if let Some(names) = &self.bucketnames {
            bucket = Some(names.clone());
        }
        let Some(bucket) = bucket.filter(|bucket| !bucket.is_empty()) else {
            return Ok(None);
        };
        if bucket.contains(',') {
            return Err(format!("bucketnames {bucket}: one bucket holds the table, not several"));
        }
        if let Some(endpoint) = &self.endpoint {
            named.options.insert("aws_endpoint".to_owned(), self.with_scheme(endpoint));
        }
        let plain = [
            ("aws_region", &self.region),
            ("aws_access_key_id", &self.access_key_id),
            ("aws_secret_access_key", &self.secret_access_key),
            ("aws_session_token", &self.session_token),
        ];
        insert_all(&mut named.options, plain);
        if self.http_config.insecure_skip_verify {
            named.options.insert("aws_allow_invalid_certificates".to_owned(), "true".to_owned());
        }
        named.url = format!("s3://{bucket}");
        Ok(Some(named))
    }

    /// Reads `s3://key:secret@region-or-host/bucket`.
    fn read_url(&self, text: &str, options: &mut BTreeMap<String, String>) -> Result<Option<String>, String> {
        // The parser's own message would not show the text, which may hold a secret.
        let url = url::Url::parse(text).map_err(|error| format!("s3: no URL: {error}"))?;
        let decoded = |part: &str| percent_encoding::percent_decode_str(part).decode_utf8_lossy().into_owned();
        if !url.username().is_empty() {
            options.insert("aws_access_key_id".to_owned(), decoded(url.username()));
        }
        if let Some(secret) = url.password() {
            options.insert("aws_secret_access_key".to_owned(), decoded(secret));
        }
        let host = url.host_str().unwrap_or("");
        match url.port() {
            Some(port) => {
                options.insert("aws_endpoint".to_owned(), self.with_scheme(&format!("{host}:{port}")));
            }
            None if host.contains('.') => {
                options.insert("aws_endpoint".to_owned(), self.with_scheme(host));
            }
            None if !host.is_empty() => {
                options.insert("aws_region".to_owned(), host.to_owned());
            }
            None => {}
        }
        let bucket = url.path().trim_matches('/');
        Ok((!bucket.is_empty()).then(|| bucket.to_owned()))
    }

    fn with_scheme(&self, endpoint: &str) -> String {
        match endpoint.contains("://") {
            true => endpoint.to_owned(),
            false if self.insecure => format!("http://{endpoint}"),
            false => format!("https://{endpoint}"),
        }
    }
}

impl GcsConfig {
    fn bucket(&self) -> Option<Named> {
        let mut named = Named { url: format!("gs://{}", self.bucket_name.as_deref()?), ..Named::default() };
        insert_all(&mut named.options, [("google_service_account_key", &self.service_account)]);
        Some(named)
    }
}

impl AzureConfig {
    fn bucket(&self) -> Option<Named> {
        let mut named = Named { url: format!("az://{}", self.container_name.as_deref()?), ..Named::default() };
        let plain = [
            ("azure_storage_account_name", &self.account_name),
            ("azure_storage_account_key", &self.account_key),
            ("azure_storage_client_id", &self.client_id),
            ("azure_storage_client_secret", &self.client_secret),
            ("azure_storage_tenant_id", &self.tenant_id),
        ];
        insert_all(&mut named.options, plain);
        if let (Some(account), Some(suffix)) = (&self.account_name, &self.endpoint_suffix) {
            named.options.insert("azure_storage_endpoint".to_owned(), format!("https://{account}.{suffix}"));
        }
        Some(named)
    }
}

fn insert_all<'a>(
    options: &mut BTreeMap<String, String>,
    settings: impl IntoIterator<Item = (&'a str, &'a Option<String>)>,
) {
    for (name, value) in settings {
        if let Some(value) = value {
            options.insert(name.to_owned(), value.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::load::load;

    fn location(yaml: &str) -> String {
        let loaded = match load(&format!("auth_enabled: false\n{yaml}"), None) {
            Ok(loaded) => loaded,
            Err(error) => return format!("refused: {}", error.problems.join("; ")),
        };
        assert_eq!(loaded.unused, Vec::<String>::new(), "{yaml}");
        match loaded.config.lokis_bucket() {
            Ok(Some(named)) => {
                let options: Vec<String> =
                    named.options.iter().map(|(name, value)| format!(" {name}={value}")).collect();
                format!("{}{}", named.url, options.concat())
            }
            Ok(None) => "none".to_owned(),
            Err(error) => panic!("taken, but {error}"),
        }
    }

    #[test]
    fn lokis_blocks_name_buckets() {
        let check = |yaml: &str, expected: &str| assert_eq!(location(yaml), expected, "{yaml}");
        check("", "none");
        check(
            "storage_config: {aws: {s3: 's3://us-east-1/my-loki-bucket'}}",
            "s3://my-loki-bucket aws_region=us-east-1",
        );
        check(
            "storage_config: {aws: {s3: 's3://k:s%2Fx@minio:9000/logs', insecure: true, s3forcepathstyle: true}}",
            "s3://logs aws_access_key_id=k aws_endpoint=http://minio:9000 aws_secret_access_key=s/x",
        );
        check(
            "common: {storage: {s3: {bucketnames: a, endpoint: s3.example.com, region: eu, access_key_id: k, secret_access_key: s}}}",
            "s3://a aws_access_key_id=k aws_endpoint=https://s3.example.com aws_region=eu aws_secret_access_key=s",
        );
        check(
            "common: {storage: {s3: {bucketnames: 'a,b'}}}",
            "refused: Loki's bucket: bucketnames a,b: one bucket holds the table, not several",
        );
        check("common: {storage: {s3: {region: eu}}}", "none");
        check("storage_config: {gcs: {bucket_name: b}}", "gs://b");
        check(
            "common: {storage: {azure: {account_name: name, account_key: k, container_name: c, endpoint_suffix: blob.local}}}",
            "az://c azure_storage_account_key=k azure_storage_account_name=name azure_storage_endpoint=https://name.blob.local",
        );
    }

    #[test]
    fn every_option_is_known_to_its_provider() {
        for (url, names) in [
            ("s3://b", &["aws_endpoint", "aws_region", "aws_session_token", "aws_allow_invalid_certificates"][..]),
            ("az://c", &["azure_storage_account_name", "azure_storage_client_secret", "azure_storage_endpoint"]),
        ] {
            let options = names.iter().map(|name| ((*name).to_owned(), "https://a.b".to_owned())).collect();
            let location = Location::parse(url, &options, &RequestLimits::default()).expect("a URL");
            if let Err(error) = location.open(None) {
                assert!(!error.to_string().contains("is unknown"), "{error}");
            }
        }
    }

    #[test]
    fn our_own_url_wins_and_lokis_bucket_has_a_place_of_its_own() {
        let yaml = "auth_enabled: false\ncommon: {storage: {s3: {bucketnames: a}}}\n";
        let of = |yaml: &str| load(yaml, None).expect("good").config.table_location().expect("a place").to_string();
        assert_eq!(of(yaml), "s3://a/millrace/logs");
        assert_eq!(of(&format!("{yaml}millrace: {{table: {{url: 's3://b/c'}}}}")), "s3://b/c");
        assert_eq!(of("auth_enabled: false\nmillrace: {data_dir: /d}"), "/d/logs");
    }

    #[test]
    fn secrets_are_not_printed() {
        let yaml = "auth_enabled: false\ncommon: {storage: {s3: {s3: 's3://k:hush@minio:9000/logs', secret_access_key: hush, session_token: hush}, azure: {account_key: hush, client_secret: hush}, gcs: {service_account: hush}}}\nmillrace: {table: {options: {aws_secret_access_key: hush, aws_sse_customer_key_base64: hush}}}";
        let config = load(yaml, None).expect("good").config;
        let printed = crate::config::print::print(&config, crate::config::print::Mode::Effective).expect("prints");
        assert!(!printed.contains("hush"), "{printed}");
    }
}
