//! An accepted connection with what its handshake said.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use rustls_pki_types::CertificateDer;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;
use tonic::transport::server::Connected;

/// What is known of the other end of a connection; an extension of each of its gRPC requests.
#[derive(Debug, Clone, Default)]
pub struct PeerCertificates {
    address: Option<SocketAddr>,
    chain: Option<Arc<[CertificateDer<'static>]>>,
    protocol: Option<Arc<[u8]>>,
}

impl PeerCertificates {
    /// Makes one by hand, for tests and other transports.
    pub fn new(address: Option<SocketAddr>, chain: Vec<CertificateDer<'static>>) -> Self {
        let chain = (!chain.is_empty()).then(|| chain.into());
        Self {
            address,
            chain,
            protocol: None,
        }
    }

    /// The other end's address.
    pub fn remote_addr(&self) -> Option<SocketAddr> {
        self.address
    }

    /// The verified chain, leaf first; empty if the client showed none.
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        self.chain.as_deref().unwrap_or_default()
    }

    /// The verified certificate of the client itself.
    pub fn leaf(&self) -> Option<&CertificateDer<'static>> {
        self.chain().first()
    }

    /// The protocol that ALPN chose.
    pub fn alpn(&self) -> Option<&[u8]> {
        self.protocol.as_deref()
    }
}

/// An accepted TLS connection.
#[derive(Debug)]
pub struct Stream<IO = TcpStream> {
    inner: TlsStream<IO>,
    peer: PeerCertificates,
    server_name: Option<String>,
}

impl<IO> Stream<IO> {
    /// Takes a connection whose handshake is over.
    pub fn new(inner: TlsStream<IO>, address: Option<SocketAddr>) -> Self {
        let session = inner.get_ref().1;
        let peer = PeerCertificates {
            address,
            chain: session.peer_certificates().map(Arc::from),
            protocol: session.alpn_protocol().map(Arc::from),
        };
        let server_name = session.server_name().map(ToOwned::to_owned);
        Self {
            inner,
            peer,
            server_name,
        }
    }

    /// What is known of the other end.
    pub fn peer(&self) -> &PeerCertificates {
        &self.peer
    }

    /// The name that the client asked for by SNI.
    pub fn server_name(&self) -> Option<&str> {
        self.server_name.as_deref()
    }
}

impl<IO> Connected for Stream<IO> {
    type ConnectInfo = PeerCertificates;

    fn connect_info(&self) -> PeerCertificates {
        self.peer.clone()
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> AsyncRead for Stream<IO> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buffer)
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Stream<IO> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, buffer)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(cx, buffers)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
