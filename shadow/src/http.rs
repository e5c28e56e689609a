//! What a run answers over HTTP while it goes on: its metrics, whether it is alive and ready, and what
//! it has found, to programs here and to people in `pages`.
//!
//! Nothing here can be changed from outside, and nothing is answered that is not durable.

use std::{
    fmt,
    io::{self, Write},
    net::{SocketAddr, TcpListener},
    str::FromStr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use axum::{
    Json, Router,
    extract::{Query, State, rejection::QueryRejection},
    http::{HeaderMap, StatusCode, header},
    middleware::map_response,
    response::{IntoResponse, Response},
    routing::get,
};
use serde::{Deserialize, Serialize};
use storage_snapshot::{Store, TopoHeight};
use tokio::sync::oneshot;

use crate::{
    ledger::{CandidateEntry, FoundProblem, LedgerEntry, LedgerError, entries, entry_at},
    metrics::{Metrics, Status},
    pages::{self, Differing, Pages},
};

/// Where to listen: `PORT`, which is one of the loopback interface, or `ADDRESS:PORT`. Port 0 is any
/// that is free.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListenAddress(pub SocketAddr);

impl FromStr for ListenAddress {
    type Err = ParseListenAddressError;

    fn from_str(text: &str) -> Result<Self, ParseListenAddressError> {
        let port = text.strip_prefix(':').unwrap_or(text);
        if let Ok(port) = port.parse::<u16>() {
            return Ok(Self(SocketAddr::from(([127, 0, 0, 1], port))));
        }
        let text = text.replace("localhost:", "127.0.0.1:");
        text.parse().map(Self).map_err(|_| ParseListenAddressError)
    }
}

/// A text that is no address to listen at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParseListenAddressError;

impl fmt::Display for ParseListenAddressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "expected a port, or an address and a port such as 127.0.0.1:9464 or [::1]:9464",
        )
    }
}

impl std::error::Error for ParseListenAddressError {}

/// Something that answers, until it is stopped.
#[derive(Debug)]
pub struct Server {
    stop: oneshot::Sender<()>,
    /// For whoever is reading much.
    stopping: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Server {
    /// Answers whoever asks at `listener`, on a thread of its own.
    ///
    /// # Errors
    ///
    /// When the operating system refuses a thread, or what it takes to wait on a socket.
    pub fn start(listener: TcpListener, metrics: Arc<Metrics>, store: Store) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (stop, stopped) = oneshot::channel::<()>();
        let watched = Arc::clone(&metrics);
        let stopping = Arc::new(AtomicBool::new(false));
        let pages = Pages::new(Arc::clone(&metrics), store.clone(), Arc::clone(&stopping));
        let router = router(Served { metrics, store, pages: Arc::new(pages) });
        let thread =
            std::thread::Builder::new().name("shadow-http".to_owned()).spawn(move || {
                runtime.block_on(async {
                    let listener = match tokio::net::TcpListener::from_std(listener) {
                        Ok(listener) => listener,
                        Err(error) => return tracing::error!(%error, "nobody is answered"),
                    };
                    tokio::select! {
                        ended = axum::serve(listener, router) => {
                            if let Err(error) = ended {
                                tracing::error!(%error, "nobody is answered any more");
                            }
                        }
                        () = look_again_and_again(watched) => {}
                    // Whether it was sent or the other side is gone: it is over.
                        _ = stopped => {}
                    }
                });
                // Whoever still reads an answer has had long enough to ask again.
                runtime.shutdown_timeout(SHUTDOWN_TIMEOUT);
            })?;
        Ok(Self { stop, stopping, thread })
    }

    /// Ends it, and lets go of the store.
    pub fn stop(self) {
        self.stopping.store(true, Ordering::Relaxed);
        let _already_ended = self.stop.send(());
        let _panicked = self.thread.join();
    }
}

/// Nobody who asks for the metrics waits for the disk.
async fn look_again_and_again(metrics: Arc<Metrics>) {
    loop {
        tokio::time::sleep(LOOK_INTERVAL).await;
        let metrics = Arc::clone(&metrics);
        // A look that panicked leaves what was seen before.
        let _panicked = tokio::task::spawn_blocking(move || metrics.look()).await;
    }
}

/// Takes an address, and tells on standard error where that is.
///
/// # Errors
///
/// When it cannot be had.
pub fn bind(address: ListenAddress) -> io::Result<TcpListener> {
    let listener = TcpListener::bind(address.0)?;
    let bound = listener.local_addr()?;
    let _closed = writeln!(io::stderr(), "listening on http://{bound}");
    Ok(listener)
}

/// What there is to answer from.
#[derive(Clone, Debug)]
struct Served {
    metrics: Arc<Metrics>,
    store: Store,
    pages: Arc<Pages>,
}

fn router(served: Served) -> Router {
    let pages = pages::router(Arc::clone(&served.pages));
    Router::new()
        .route("/metrics", get(metrics))
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .route("/api/status", get(status))
        .route("/api/mismatches", get(mismatches))
        .route("/api/ledger", get(ledger))
        .fallback(nothing)
        .with_state(served)
        .merge(pages)
        .layer(map_response(pages::guarded))
}

async fn metrics(State(served): State<Served>) -> Response {
    // Sums of half a ledger would look like a ledger that goes down and up again.
    if !served.metrics.is_restored() {
        let error = "the ledger is being read; ask again".to_owned();
        return Refusal { status: StatusCode::SERVICE_UNAVAILABLE, error }.into_response();
    }
    match served.metrics.render() {
        Ok(text) => ([(header::CONTENT_TYPE, METRICS_TYPE)], text).into_response(),
        Err(error) => Refusal::internal(&error).into_response(),
    }
}

/// Whoever answers this is alive: a process that hangs elsewhere is behind, which is what `/readyz` says.
async fn livez() -> &'static str {
    "ok\n"
}

#[derive(Debug, Deserialize)]
struct Verbosity {
    verbose: Option<String>,
}

async fn readyz(State(served): State<Served>, Query(query): Query<Verbosity>) -> Response {
    let checks = served.metrics.checks();
    let ready = checks.iter().all(|check| check.problem.is_none());
    let mut text = String::new();
    for check in &checks {
        match &check.problem {
            Some(problem) => text.push_str(&format!("[-] {}: {problem}\n", check.name)),
            None if query.verbose.is_some() => text.push_str(&format!("[+] {}\n", check.name)),
            None => {}
        }
    }
    text.push_str(if ready { "ready\n" } else { "not ready\n" });
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, text).into_response()
}

async fn status(State(served): State<Served>) -> Json<Status> {
    Json(served.metrics.status())
}

#[derive(Debug, Deserialize)]
struct MismatchQuery {
    /// Only below this topoheight.
    before: Option<u64>,
    /// At most so many blocks.
    limit: Option<usize>,
}

/// Blocks in which something differs, the newest first.
#[derive(Debug, Serialize)]
struct MismatchPage {
    blocks: Vec<MismatchBlock>,
    /// Where the next page begins: to be asked for as `before`.
    next: Option<TopoHeight>,
}

#[derive(Debug, Serialize)]
struct MismatchBlock {
    topoheight: TopoHeight,
    block_hash: storage_snapshot::BlockHash,
    /// Whether the block has since been ordered away.
    stale: bool,
    /// How many differences there were in blocks that have since been ordered away from here.
    earlier_mismatches: u64,
    /// What was found in those.
    earlier: Vec<FoundProblem>,
    /// Those that differ.
    candidates: Vec<CandidateEntry>,
    /// The first difference, in words.
    sentence: Option<String>,
}

impl From<LedgerEntry> for MismatchBlock {
    fn from(entry: LedgerEntry) -> Self {
        let LedgerEntry { topoheight, block_hash, stale, earlier_mismatches, .. } = entry;
        let mut candidates = entry.candidates;
        candidates.retain(|candidate| !candidate.fields.is_empty());
        let earlier = entry.earlier_problems;
        let here = candidates.iter().filter_map(|candidate| candidate.first.as_ref());
        let gone = earlier.iter().filter_map(|found| found.first.as_ref());
        let sentence = here.chain(gone).next().map(|first| first.sentence());
        Self { topoheight, block_hash, stale, earlier_mismatches, earlier, candidates, sentence }
    }
}

async fn mismatches(
    State(served): State<Served>,
    query: Result<Query<MismatchQuery>, QueryRejection>,
) -> Result<Json<MismatchPage>, Refusal> {
    let Query(query) = query?;
    let before = query.before.map_or(TopoHeight::MAX, TopoHeight::new);
    let limit = query.limit.unwrap_or(MISMATCHES_USUAL).clamp(1, MISMATCHES_MAX);
    in_background(move || {
        let Differing { blocks: found, next } = served.pages.differing(before, limit)?;
        let mut blocks = Vec::with_capacity(found.len());
        for at in found {
            // A block that is being ordered away right now may have no entry.
            blocks.extend(entry_at(&served.store, at)?.map(MismatchBlock::from));
        }
        Ok(MismatchPage { blocks, next })
    })
    .await
}

#[derive(Debug, Deserialize)]
struct LedgerQuery {
    from: Option<u64>,
    to: Option<u64>,
}

/// Entries of the ledger, in order.
#[derive(Debug, Serialize)]
struct LedgerPage {
    entries: Vec<LedgerEntry>,
    /// The topoheight that was left out because the answer would have become too long: to be asked for
    /// as `from`.
    next: Option<TopoHeight>,
}

async fn ledger(
    State(served): State<Served>,
    query: Result<Query<LedgerQuery>, QueryRejection>,
) -> Result<Json<LedgerPage>, Refusal> {
    let Query(LedgerQuery { from, to }) = query?;
    if let (Some(from), Some(to)) = (from, to)
        && from > to
    {
        return Err(Refusal::bad("`from` is above `to`"));
    }
    in_background(move || {
        let last = served.store.last_ledger().map_err(LedgerError::Store)?;
        let Some(last) = last else { return Ok(LedgerPage { entries: Vec::new(), next: None }) };
        let to = TopoHeight::new(to.unwrap_or_else(|| last.as_u64()));
        let newest = to.min(last).as_u64().saturating_sub(ENTRIES_USUAL - 1);
        let from = TopoHeight::new(from.unwrap_or(newest));
        let mut page = LedgerPage { entries: Vec::new(), next: None };
        for entry in entries(&served.store, from) {
            let entry = entry?;
            if entry.topoheight > to {
                break;
            }
            if page.entries.len() == ENTRIES_MAX {
                page.next = Some(entry.topoheight);
                break;
            }
            page.entries.push(entry);
        }
        Ok(page)
    })
    .await
}

/// Reading the ledger may wait for the disk, and meanwhile others want an answer too.
async fn in_background<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, LedgerError> + Send + 'static,
) -> Result<Json<T>, Refusal> {
    match tokio::task::spawn_blocking(work).await {
        Ok(Ok(found)) => Ok(Json(found)),
        Ok(Err(error)) => Err(Refusal::internal(&error)),
        Err(error) => Err(Refusal::internal(&error)),
    }
}

async fn nothing(State(served): State<Served>, headers: HeaderMap) -> Response {
    let accepted = headers.get(header::ACCEPT).and_then(|accepted| accepted.to_str().ok());
    if accepted.is_some_and(|accepted| accepted.contains("text/html")) {
        return pages::nothing(served.pages).await;
    }
    Refusal {
        status: StatusCode::NOT_FOUND,
        error: "there are pages at /, and /metrics, /livez, /readyz?verbose, /api/status, \
                /api/mismatches?before=&limit= and /api/ledger?from=&to="
            .to_owned(),
    }
    .into_response()
}

/// An answer that says why there is none.
#[derive(Debug)]
struct Refusal {
    status: StatusCode,
    error: String,
}

impl Refusal {
    fn bad(error: &str) -> Self {
        Self { status: StatusCode::BAD_REQUEST, error: error.to_owned() }
    }

    fn internal(error: &dyn std::error::Error) -> Self {
        Self { status: StatusCode::INTERNAL_SERVER_ERROR, error: error.to_string() }
    }
}

impl From<QueryRejection> for Refusal {
    fn from(rejection: QueryRejection) -> Self {
        Self::bad(&rejection.body_text())
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        (self.status, Json(serde_json::json!({ "error": self.error }))).into_response()
    }
}

const METRICS_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";
const LOOK_INTERVAL: Duration = Duration::from_secs(5);
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(1);

/// How many blocks with mismatches are answered with, unless somebody asks for another number.
const MISMATCHES_USUAL: usize = 50;
const MISMATCHES_MAX: usize = 500;

/// How many entries of the ledger are answered with, unless somebody says where to begin.
const ENTRIES_USUAL: u64 = 100;
const ENTRIES_MAX: usize = 1000;
