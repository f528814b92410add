//! A client of the HTTPS door that sends exactly what it is told to, and takes any certificate.

use std::{net::SocketAddr, sync::Arc};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
};
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{
        ClientConfig, DigitallySignedStruct, Error, SignatureScheme,
        client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        crypto::aws_lc_rs,
        pki_types::{CertificateDer, ServerName, UnixTime},
    },
};

/// Takes any certificate, as clients of today do.
#[derive(Debug)]
struct Anybody;

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        aws_lc_rs::default_provider().signature_verification_algorithms.supported_schemes()
    }
}

/// How a client speaks TLS that offers these protocols.
pub fn connector(protocols: &[&str]) -> TlsConnector {
    let mut config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anybody))
        .with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
    Arc::new(config).into()
}

/// A connection, with TLS.
pub struct Https(pub TlsStream<TcpStream>);

impl Https {
    pub async fn connect(address: SocketAddr) -> Self {
        Self::over(TcpStream::connect(address).await.unwrap(), &connector(&["http/1.1"])).await
    }

    /// From an address of this machine.
    pub async fn connect_from(from: [u8; 4], address: SocketAddr) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((from, 0).into()).unwrap();
        Self::over(socket.connect(address).await.unwrap(), &connector(&["http/1.1"])).await
    }

    pub async fn over(stream: TcpStream, connector: &TlsConnector) -> Self {
        let name = ServerName::try_from("node").unwrap();
        Self(connector.connect(name, stream).await.unwrap())
    }

    /// Sends something; whether the other side takes it is not asked.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = self.0.write_all(bytes.as_ref()).await;
        let _ = self.0.flush().await;
    }

    /// Posts a body, on a connection that is kept; status and body of the answer.
    pub async fn post(&mut self, path: &str, body: impl AsRef<[u8]>) -> (u16, Vec<u8>) {
        self.try_post(path, body).await.expect("an answer")
    }

    /// None where the connection ends before the answer does.
    pub async fn try_post(&mut self, path: &str, body: impl AsRef<[u8]>) -> Option<(u16, Vec<u8>)> {
        let body = body.as_ref();
        let head = format!("POST {path} HTTP/1.1\r\nHost: node\r\nContent-Length: {}\r\n\r\n", body.len());
        self.send([head.as_bytes(), body].concat()).await;
        self.answer().await
    }

    /// Reads one answer.
    pub async fn answer(&mut self) -> Option<(u16, Vec<u8>)> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(self.0.read_u8().await.ok()?);
        }
        let head = String::from_utf8(head).unwrap().to_lowercase();
        let status = head.split(' ').nth(1)?.parse().unwrap();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
        self.0.read_exact(&mut body).await.ok()?;
        Some((status, body))
    }

    /// Reads until the other side ends the connection, however it does: what it said before.
    pub async fn until_closed(&mut self) -> Vec<u8> {
        let mut said = Vec::new();
        let _ = self.0.read_to_end(&mut said).await;
        said
    }
}

/// Posts a body on a connection of its own.
pub async fn post(address: SocketAddr, path: &str, body: impl AsRef<[u8]>) -> (u16, Vec<u8>) {
    Https::connect(address).await.post(path, body).await
}
