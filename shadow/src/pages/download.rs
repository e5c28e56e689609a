//! Evidence as files: one of them, or a whole directory as a compressed archive that is made on the way.

use std::{
    io::{self, Write},
    sync::Arc,
};

use axum::{
    body::{Body, Bytes},
    extract::State,
    http::header,
    response::{IntoResponse, Response},
};
use futures_util::stream;
use tokio::{sync::mpsc, task::spawn_blocking};

use super::{
    Named, PageError, Pages, evidence as page, make, path,
    shelf::{Kept, KeptFile},
};

/// A directory: its page, or with `.tar.gz` behind its name all of it.
pub(super) async fn evidence(State(pages): State<Arc<Pages>>, named: Named<String>) -> Response {
    let name = match path(named) {
        Ok(name) => name,
        Err(error) => return make(pages, |_| Err(error)).await,
    };
    let looking = Arc::clone(&pages);
    let found = spawn_blocking(move || find(&looking, &name)).await.unwrap_or(Err(PageError::Lost));
    match found {
        Ok(Found::Shown(kept)) => make(pages, move |_| page::one(&kept)).await,
        Ok(Found::Packed(kept)) => packed(kept),
        Err(error) => make(pages, |_| Err(error)).await,
    }
}

enum Found {
    Shown(Kept),
    Packed(Kept),
}

fn find(pages: &Pages, name: &str) -> Result<Found, PageError> {
    if let Some(kept) = pages.shelf.named(name)? {
        return Ok(Found::Shown(kept));
    }
    let nothing = || PageError::Nothing("evidence");
    let name = name.strip_suffix(ARCHIVE).ok_or_else(nothing)?;
    pages.shelf.named(name)?.map(Found::Packed).ok_or_else(nothing)
}

fn packed(kept: Kept) -> Response {
    let name = format!("{}{ARCHIVE}", kept.name);
    let body = streamed(move |to| kept.pack(io::BufWriter::with_capacity(CHUNK, to)));
    ([(header::CONTENT_TYPE, "application/gzip".to_owned()), attached(&name)], body).into_response()
}

/// A file of a directory.
pub(super) async fn file(
    State(pages): State<Arc<Pages>>,
    named: Named<(String, String)>,
) -> Response {
    let (directory, name) = match path(named) {
        Ok(named) => named,
        Err(error) => return make(pages, |_| Err(error)).await,
    };
    let looking = Arc::clone(&pages);
    let found = spawn_blocking(move || -> Result<KeptFile, PageError> {
        let kept = looking.shelf.named(&directory)?.ok_or(PageError::Nothing("evidence"))?;
        kept.file(&name)?.ok_or(PageError::Nothing("file in this evidence"))
    });
    match found.await.unwrap_or(Err(PageError::Lost)) {
        Ok(file) => {
            let kind = if file.name.ends_with(".json") { "application/json" } else { TEXT };
            let headers = [(header::CONTENT_TYPE, kind.to_owned()), attached(&file.name)];
            let copy = move |to: Chunks| {
                let mut to = io::BufWriter::with_capacity(CHUNK, to);
                io::copy(&mut file.open()?, &mut to)?;
                to.flush()
            };
            (headers, streamed(copy)).into_response()
        }
        Err(error) => make(pages, |_| Err(error)).await,
    }
}

/// Kept, not shown. Names on the shelf have nothing in them that would have to be quoted.
fn attached(name: &str) -> (header::HeaderName, String) {
    (header::CONTENT_DISPOSITION, format!("attachment; filename=\"{name}\""))
}

/// What is written on a thread of its own, and no faster than it is taken.
fn streamed(write: impl FnOnce(Chunks) -> io::Result<()> + Send + 'static) -> Body {
    let (sender, receiver) = mpsc::channel(CHUNKS);
    drop(spawn_blocking(move || {
        let failed = sender.clone();
        if let Err(error) = write(Chunks(sender)) {
            // Whoever asked sees that it is cut off, if they are still there.
            let _gone = failed.blocking_send(Err(error));
        }
    }));
    Body::from_stream(stream::unfold(receiver, |mut receiver| async move {
        let chunk: io::Result<Bytes> = receiver.recv().await?;
        Some((chunk, receiver))
    }))
}

/// Where chunks of an answer are written to.
struct Chunks(mpsc::Sender<io::Result<Bytes>>);

impl Write for Chunks {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let sent = self.0.blocking_send(Ok(Bytes::copy_from_slice(bytes)));
        sent.map(|()| bytes.len()).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

const ARCHIVE: &str = ".tar.gz";
const TEXT: &str = "text/plain; charset=utf-8";
const CHUNK: usize = 64 << 10;
const CHUNKS: usize = 4;
