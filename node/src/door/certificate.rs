//! The door's key and certificate: own ones, or one that the node signs itself and keeps.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256};
use tokio_rustls::rustls::{
    self, ServerConfig,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, pem, pem::PemObject},
};
use zeroize::Zeroizing;

use crate::keystore::Draft;

/// The file in the data folder: key and certificate, PEM, readable by its owner only.
const FILE: &str = "door.pem";

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CertificateError {
    /// The file cannot be read or written.
    #[error("cannot use the certificate file {path}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        cause: io::Error,
    },
    /// The file holds something else.
    #[error("{path} does not hold what it should, in PEM")]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        cause: pem::Error,
    },
    /// Key and certificate cannot be used, or not together.
    #[error("the certificate of the door cannot be used")]
    Unusable(#[source] rustls::Error),
    /// None can be made.
    #[error("no certificate can be made")]
    Making(#[source] rcgen::Error),
}

/// How the door speaks TLS: with own files (chain and key), or with what the folder `data` keeps, made if there
/// is none. Beside it when the first certificate of the chain runs out, in seconds since 1970, where they say so.
pub(super) fn config(
    data: &Path,
    own: Option<&(PathBuf, PathBuf)>,
) -> Result<(ServerConfig, Option<i64>), CertificateError> {
    let kept = data.join(FILE);
    let (chain, key) = match own {
        Some((chain, key)) => (chain, key),
        None => {
            if !kept.try_exists().map_err(|cause| CertificateError::File { path: kept.clone(), cause })? {
                make(data, &kept)?;
            }
            (&kept, &kept)
        }
    };
    let (chain, key) = (certificates(chain)?, private(key)?);
    let expires = chain.iter().filter_map(|one| expires(one)).min();
    // Both providers may be in the tree: this one is meant.
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .and_then(|config| config.with_no_client_auth().with_single_cert(chain, key));
    let mut config = config.map_err(CertificateError::Unusable)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config.ticketer = aws_lc_rs::Ticketer::new().map_err(CertificateError::Unusable)?;
    Ok((config, expires))
}

/// When a certificate runs out.
fn expires(certificate: &[u8]) -> Option<i64> {
    let (_, certificate) = x509_parser::parse_x509_certificate(certificate).ok()?;
    Some(certificate.validity().not_after.timestamp())
}

fn make(data: &Path, path: &Path) -> Result<(), CertificateError> {
    let file = |cause| CertificateError::File { path: path.to_owned(), cause };
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(CertificateError::Making)?;
    let params = CertificateParams::new(vec!["session-node".to_owned()]).map_err(CertificateError::Making)?;
    let certificate = params.self_signed(&key).map_err(CertificateError::Making)?;
    let text = Zeroizing::new(key.serialize_pem() + &certificate.pem());
    fs::create_dir_all(data).map_err(file)?;
    Draft::write(data, FILE, text.as_bytes()).and_then(|draft| draft.replace(path)).map_err(file)
}

fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, CertificateError> {
    let file = |cause| CertificateError::File { path: path.to_owned(), cause };
    fs::read(path).map(Zeroizing::new).map_err(file)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, CertificateError> {
    let content = |cause| CertificateError::Content { path: path.to_owned(), cause };
    let chain =
        CertificateDer::pem_slice_iter(&read(path)?).collect::<Result<Vec<_>, _>>().map_err(content)?;
    if chain.is_empty() { Err(content(pem::Error::NoItemsFound)) } else { Ok(chain) }
}

fn private(path: &Path) -> Result<PrivateKeyDer<'static>, CertificateError> {
    let found = PrivateKeyDer::from_pem_slice(&read(path)?);
    found.map_err(|cause| CertificateError::Content { path: path.to_owned(), cause })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_certificate_is_made_once_and_is_for_its_owner() {
        let folder = tempfile::tempdir().unwrap();
        config(folder.path(), None).unwrap();
        let path = folder.path().join(FILE);
        let made = fs::read(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let (_, expires) = config(folder.path(), None).unwrap();
        assert_eq!(fs::read(&path).unwrap(), made, "the same after a restart");
        assert!(expires > Some(4_000_000_000), "nobody has to renew it: {expires:?}");
        // A damaged one is not replaced: clients may have noted it.
        fs::write(&path, "damaged").unwrap();
        assert!(matches!(config(folder.path(), None), Err(CertificateError::Content { .. })));
        assert_eq!(fs::read(&path).unwrap(), b"damaged");
    }

    #[test]
    fn own_files_are_used_and_must_belong_together() {
        let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let files = [&one, &other].map(|folder| {
            config(folder.path(), None).unwrap();
            folder.path().join(FILE)
        });
        let nowhere = one.path().join("empty");
        assert!(config(&nowhere, Some(&(files[0].clone(), files[0].clone()))).is_ok());
        assert!(!nowhere.exists(), "nothing is made where there is one");
        let mixed = config(&nowhere, Some(&(files[0].clone(), files[1].clone())));
        assert!(matches!(mixed, Err(CertificateError::Unusable(_))));
        let mut params = CertificateParams::new(vec!["short".to_owned()]).unwrap();
        params.not_after = rcgen::date_time_ymd(2030, 1, 1);
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        let short = one.path().join("short.pem");
        fs::write(&short, key.serialize_pem() + &params.self_signed(&key).unwrap().pem()).unwrap();
        let (_, expires) = config(&nowhere, Some(&(short.clone(), short))).unwrap();
        assert_eq!(expires, Some(1_893_456_000), "when 2030 begins");
        let missing = config(&nowhere, Some(&(files[0].clone(), nowhere.clone())));
        assert!(matches!(missing, Err(CertificateError::File { .. })));
    }
}
