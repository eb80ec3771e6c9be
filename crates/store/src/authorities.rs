//! Who is trusted to sign the certificates of servers.

use std::{
    fs::File,
    io::BufReader,
    path::{Path, PathBuf},
};

use tokio_rustls::rustls::{
    RootCertStore,
    pki_types::{CertificateDer, pem::PemObject as _},
};

/// Where distributions keep the authorities that they trust.
const SYSTEM_AUTHORITIES: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];

/// Those of `file`, or those that the system trusts; or else why there are none. `option` is where
/// the user names a file.
pub(crate) fn authorities(file: Option<&Path>, option: &str) -> Result<RootCertStore, String> {
    let system = || SYSTEM_AUTHORITIES.iter().map(PathBuf::from).find(|file| file.exists());
    let file = file
        .map(Path::to_owned)
        .or_else(system)
        .ok_or_else(|| format!("no root certificates are known; name a file with {option}"))?;
    let failed = |reason: String| {
        format!("the root certificates in {} cannot be used: {reason}", file.display())
    };
    let reader = BufReader::new(File::open(&file).map_err(|error| failed(error.to_string()))?);
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_reader_iter(reader) {
        let certificate = certificate.map_err(|error| failed(error.to_string()))?;
        // One of a system's many that is not understood does not make the others worthless.
        let _ = roots.add(certificate);
    }
    if roots.is_empty() {
        return Err(failed("it holds none".to_owned()));
    }
    Ok(roots)
}
