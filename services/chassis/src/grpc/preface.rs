//! The first words of a connection, awaited with a deadline of ours.
//!
//! hyper waits for HTTP/2's preface for ever and hears neither PING timeouts nor a graceful shutdown
//! before it has come: a peer that connects and says nothing would stay, and hold up every drain.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};

/// What every client says first (RFC 9113, 3.4).
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A connection that speaks HTTP/2; reads as if nobody had listened before.
#[derive(Debug)]
pub(super) struct Heard<IO> {
    io: IO,
    /// What of the preface is still to be read again.
    again: &'static [u8],
}

/// Waits for the preface. Whatever else comes is an error.
pub(super) async fn hear<IO: AsyncRead + Unpin>(mut io: IO) -> io::Result<Heard<IO>> {
    let mut said = [0; PREFACE.len()];
    io.read_exact(&mut said).await?;
    if said == *PREFACE {
        let again = PREFACE.as_slice();
        Ok(Heard { io, again })
    } else {
        Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "the client does not speak HTTP/2",
        ))
    }
}

impl<IO: AsyncRead + Unpin> AsyncRead for Heard<IO> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.again.is_empty() {
            return Pin::new(&mut self.io).poll_read(cx, buffer);
        }
        let (now, later) = self
            .again
            .split_at(self.again.len().min(buffer.remaining()));
        buffer.put_slice(now);
        self.again = later;
        Poll::Ready(Ok(()))
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for Heard<IO> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buffer)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, buffers)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_preface_is_read_again_however_small_the_pieces() {
        let text = [PREFACE.as_slice(), b"frames"].concat();
        let mut heard = hear(text.as_slice()).await.unwrap();
        let mut read = Vec::new();
        let mut piece = [0; 5];
        loop {
            match heard.read(&mut piece).await.unwrap() {
                0 => break,
                length => read.extend_from_slice(&piece[..length]),
            }
        }
        assert_eq!(read, text);
    }

    #[tokio::test]
    async fn other_words_are_an_error() {
        let other = hear(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n".as_slice()).await;
        assert_eq!(other.unwrap_err().kind(), io::ErrorKind::InvalidData);
        let short = hear(b"PRI * HTTP".as_slice()).await;
        assert_eq!(short.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }
}
