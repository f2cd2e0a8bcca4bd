//! Certificates for tests.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

/// An authority and what it signed, as files.
pub(crate) struct Authority {
    pub(crate) directory: PathBuf,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    pub(crate) fn new(directory: &Path, name: &str) -> Authority {
        let mut params = CertificateParams::new(Vec::new()).expect("parameters");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("signed");
        std::fs::write(directory.join("ca.pem"), certificate.pem()).expect("written");
        Authority { directory: directory.to_owned(), issuer: Issuer::new(params, key) }
    }

    /// Writes `file.pem` and `file.key`, the second whole at once and last.
    pub(crate) fn sign(&self, file: &str, common_name: &str) {
        let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        let mut params = CertificateParams::new(names).expect("parameters");
        params.distinguished_name.push(DnType::CommonName, common_name);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("signed");
        let key_file = self.path(&format!("{file}.key"));
        std::fs::write(self.path(&format!("{file}.pem")), certificate.pem()).expect("written");
        std::fs::write(&key_file, key.serialize_pem()).expect("written");
        // libpq takes no key that others can read.
        std::fs::set_permissions(&key_file, std::fs::Permissions::from_mode(0o600)).expect("set");
    }

    pub(crate) fn path(&self, file: &str) -> String {
        self.directory.join(file).display().to_string()
    }
}
