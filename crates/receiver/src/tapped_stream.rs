//! A connection's bytes on their way to hyper, with the first ones looked at to tell HTTP/2 from HTTP/1 and all heads
//! shown to the [`Pulse`].

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::pulse::Pulse;

/// How an HTTP/2 connection begins; no HTTP/1 method does.
const HTTP2_BEGINS: &[u8] = b"PRI";

pub(crate) struct TappedStream {
    inner: TcpStream,
    /// Read while looking, not yet handed on.
    begun: Vec<u8>,
    pulse: Pulse,
}

impl TappedStream {
    /// Reads as much as tells whether the peer speaks HTTP/2.
    pub(crate) async fn open(mut inner: TcpStream, pulse: Pulse) -> io::Result<(Self, bool)> {
        let mut begun = Vec::with_capacity(1024);
        while begun.len() < HTTP2_BEGINS.len() && HTTP2_BEGINS.starts_with(&begun) {
            if inner.read_buf(&mut begun).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        let http2 = begun.starts_with(HTTP2_BEGINS);
        pulse.read(&begun);
        Ok((Self { inner, begun, pulse }, http2))
    }
}

impl AsyncRead for TappedStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.begun.is_empty() {
            let some = this.begun.len().min(buf.remaining());
            buf.put_slice(&this.begun[..some]);
            this.begun.drain(..some);
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        let read = Pin::new(&mut this.inner).poll_read(cx, buf);
        let news = &buf.filled()[before..];
        if !news.is_empty() {
            this.pulse.read(news);
        }
        read
    }
}

impl AsyncWrite for TappedStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().inner).poll_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().inner).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }
}
