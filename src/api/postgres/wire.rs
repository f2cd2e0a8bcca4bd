//! The bytes of a connection: encrypted or not, in messages of bounded length, and whether the client is still there.
//!
//! ```text
//! accept ─▶ SSLRequest? ─ yes, and there is a certificate ─▶ TLS ─▶ Wire ─▶ messages
//!              │  └ GSSENCRequest → N                                └ longer than MESSAGE_BYTES_MAX: broken off
//!              └ no: those eight bytes begin the startup message
//! ```
//!
//! Invariant: nothing that came unencrypted is read as if it had come encrypted.

use std::io;
use std::os::fd::AsFd;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, Interest, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// Bytes of one message of a client: a statement, or the values of its parameters.
const MESSAGE_BYTES_MAX: usize = 16 << 20;
const SSL_REQUEST: [u8; 8] = request(80_877_103);
const GSS_REQUEST: [u8; 8] = request(80_877_104);
/// The protocol that clients name who begin with TLS at once.
pub(super) const ALPN: &[u8] = b"postgresql";

const fn request(code: u32) -> [u8; 8] {
    let code = code.to_be_bytes();
    [0, 0, 0, 8, code[0], code[1], code[2], code[3]]
}

/// A connection, read and written.
pub(super) enum Wire {
    Plain(Messages<TcpStream>),
    Tls(Box<Messages<TlsStream<TcpStream>>>),
}

impl Wire {
    /// Encrypts the connection if the client wants it and `tls` is there.
    ///
    /// # Errors
    /// When the client goes away or does not speak the protocol.
    pub(super) async fn negotiate(mut stream: TcpStream, tls: Option<TlsAcceptor>) -> io::Result<Self> {
        let mut first = [0; 1];
        stream.peek(&mut first).await?;
        // A handshake of TLS begins so; a length of 369 MB would too.
        if let (0x16, Some(tls)) = (first[0], &tls) {
            let stream = tls.accept(stream).await?;
            if stream.get_ref().1.alpn_protocol() != Some(ALPN) {
                return Err(io::Error::other("TLS at once needs the protocol postgresql to be named"));
            }
            return Ok(Wire::Tls(Box::new(Messages::new(stream, &[]))));
        }
        // A client asks for each kind of encryption once.
        for _ in 0..2 {
            let mut asked = [0; 8];
            stream.read_exact(&mut asked).await?;
            match (asked, &tls) {
                (SSL_REQUEST, Some(tls)) => {
                    stream.write_all(b"S").await?;
                    let stream = tls.accept(stream).await?;
                    return Ok(Wire::Tls(Box::new(Messages::new(stream, &[]))));
                }
                (SSL_REQUEST | GSS_REQUEST, _) => stream.write_all(b"N").await?,
                _ => return Ok(Wire::Plain(Messages::new(stream, &asked))),
            }
        }
        Ok(Wire::Plain(Messages::new(stream, &[])))
    }

    pub(super) fn tls(&self) -> Option<&TlsStream<TcpStream>> {
        match self {
            Wire::Plain(_) => None,
            Wire::Tls(messages) => Some(&messages.stream),
        }
    }
}

/// A stream whose messages are measured as they come.
pub(super) struct Messages<S> {
    stream: S,
    /// Read ahead.
    before: Vec<u8>,
    /// The header that is being read. The first message has no type.
    header: Vec<u8>,
    header_bytes: usize,
    /// Of the message that is being read.
    bytes_left: usize,
}

impl<S> Messages<S> {
    fn new(stream: S, before: &[u8]) -> Self {
        Messages { stream, before: before.to_vec(), header: Vec::new(), header_bytes: 4, bytes_left: 0 }
    }

    /// # Errors
    /// At a message that is too long.
    fn measure(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            if self.bytes_left > 0 {
                let of_message = self.bytes_left.min(bytes.len());
                self.bytes_left -= of_message;
                bytes = &bytes[of_message..];
                continue;
            }
            let of_header = (self.header_bytes - self.header.len()).min(bytes.len());
            self.header.extend_from_slice(&bytes[..of_header]);
            bytes = &bytes[of_header..];
            if self.header.len() < self.header_bytes {
                continue;
            }
            let length = &self.header[self.header_bytes - 4..];
            let length = u32::from_be_bytes([length[0], length[1], length[2], length[3]]) as usize;
            if !(4..=MESSAGE_BYTES_MAX).contains(&length) {
                let text = format!("a message of {length} bytes; at most {MESSAGE_BYTES_MAX}");
                return Err(io::Error::new(io::ErrorKind::InvalidData, text));
            }
            self.bytes_left = length - 4;
            self.header.clear();
            self.header_bytes = 5;
        }
        Ok(())
    }
}

impl<S: AsyncRead + Unpin> Messages<S> {
    fn read(&mut self, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let filled = into.filled().len();
        if self.before.is_empty() {
            std::task::ready!(Pin::new(&mut self.stream).poll_read(context, into))?;
        } else {
            let some = self.before.len().min(into.remaining());
            into.put_slice(&self.before[..some]);
            self.before.drain(..some);
        }
        Poll::Ready(self.measure(&into.filled()[filled..]))
    }
}

impl AsyncRead for Wire {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Wire::Plain(messages) => messages.read(context, into),
            Wire::Tls(messages) => messages.read(context, into),
        }
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Wire::Plain(messages) => Pin::new(&mut messages.stream).poll_write(context, bytes),
            Wire::Tls(messages) => Pin::new(&mut messages.stream).poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Wire::Plain(messages) => Pin::new(&mut messages.stream).poll_flush(context),
            Wire::Tls(messages) => Pin::new(&mut messages.stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Wire::Plain(messages) => Pin::new(&mut messages.stream).poll_shutdown(context),
            Wire::Tls(messages) => Pin::new(&mut messages.stream).poll_shutdown(context),
        }
    }
}

/// Sees that a client has gone although nobody reads what it sends, because its statement is being computed.
pub(super) struct Watch(TcpStream);

impl Watch {
    /// # Errors
    /// When there are no more file descriptors.
    pub(super) fn new(stream: &TcpStream) -> io::Result<Self> {
        let same: std::net::TcpStream = stream.as_fd().try_clone_to_owned()?.into();
        Ok(Watch(TcpStream::from_std(same)?))
    }

    /// Ends when the client has closed its side.
    pub(super) async fn gone(&self) {
        while let Ok(news) = self.0.ready(Interest::READABLE).await {
            if news.is_read_closed() {
                return;
            }
            // What it sent is for others to read; this only waits for the next news.
            let _: io::Result<()> = self.0.try_io(Interest::READABLE, || Err(io::ErrorKind::WouldBlock.into()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_measured_however_they_are_cut() {
        let mut bytes = vec![0, 0, 0, 8, 0, 3, 0, 0];
        for length in [4_u32, 5, 1000] {
            bytes.push(b'Q');
            bytes.extend(length.to_be_bytes());
            bytes.extend(vec![b'x'; length as usize - 4]);
        }
        for cut in [1, 2, 3, 7, 400, bytes.len()] {
            let mut messages = Messages::new((), &[]);
            for piece in bytes.chunks(cut) {
                messages.measure(piece).expect("short enough");
            }
            assert_eq!((messages.bytes_left, messages.header.len()), (0, 0), "{cut}");
            messages.measure(&[b'Q', 0x7f]).expect("not yet known");
            assert!(messages.measure(&[0xff, 0xff, 0xff]).is_err(), "{cut}");
        }
        assert!(Messages::new((), &[]).measure(&[0, 0, 0, 3]).is_err());
    }

    #[tokio::test]
    async fn a_client_that_goes_is_noticed_behind_what_it_sent() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let mut client = TcpStream::connect(listener.local_addr().expect("known")).await.expect("connected");
        let (stream, _) = listener.accept().await.expect("accepted");
        let watch = Watch::new(&stream).expect("watched");
        client.write_all(b"unread").await.expect("sent");
        let early = tokio::time::timeout(std::time::Duration::from_millis(50), watch.gone()).await;
        assert!(early.is_err(), "it is still there");
        drop(client);
        tokio::time::timeout(std::time::Duration::from_secs(5), watch.gone()).await.expect("it is gone");
    }
}
