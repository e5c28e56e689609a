//! Connections that can be made to end, with nothing or with half of an answer written.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use axum::{
    extract::connect_info::Connected,
    serve::{IncomingStream, Listener},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
};

/// How much may still be written to a connection.
#[derive(Clone, Debug)]
pub(super) struct Allowance(Arc<AtomicUsize>);

impl Allowance {
    /// Ends the connection as soon as so many more bytes are written.
    pub(super) fn end_after(&self, bytes: usize) {
        self.0.store(bytes, Ordering::Relaxed);
    }

    /// How many of so many bytes may be written.
    fn of(&self, bytes: usize) -> io::Result<usize> {
        match self.0.load(Ordering::Relaxed) {
            0 => Err(io::ErrorKind::ConnectionReset.into()),
            left => Ok(left.min(bytes)),
        }
    }

    fn use_up(&self, bytes: usize) {
        // Only the task of the connection writes to it.
        let left = self.0.load(Ordering::Relaxed);
        if left != UNLIMITED {
            self.0.store(left.saturating_sub(bytes), Ordering::Relaxed);
        }
    }
}

/// Accepts such connections.
#[derive(Debug)]
pub(super) struct Wires(pub(super) TcpListener);

impl Listener for Wires {
    type Io = Wire;
    type Addr = std::net::SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        let (stream, address) = Listener::accept(&mut self.0).await;
        // Answers are written at once, so waiting for more only costs time.
        let _slower = stream.set_nodelay(true);
        (Wire { stream, allowance: Allowance(Arc::new(AtomicUsize::new(UNLIMITED))) }, address)
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.0.local_addr()
    }
}

impl Connected<IncomingStream<'_, Wires>> for Allowance {
    fn connect_info(stream: IncomingStream<'_, Wires>) -> Self {
        stream.io().allowance.clone()
    }
}

/// One connection.
#[derive(Debug)]
pub(super) struct Wire {
    stream: TcpStream,
    allowance: Allowance,
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let allowed = self.allowance.of(bytes.len())?;
        let bytes = bytes.get(..allowed).unwrap_or(bytes);
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        if let Poll::Ready(Ok(bytes)) = written {
            self.allowance.use_up(bytes);
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

const UNLIMITED: usize = usize::MAX;
