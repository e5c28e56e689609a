//! The pages: a run as people see it while it goes on, from the answer down to a single key.
//!
//! They are made here and complete: they work without scripts, ask nobody else for anything, and can
//! change nothing. A script that comes with them only keeps the first one up to date. What a page costs
//! follows from what it shows, and not from how long the ledger is; what takes the whole ledger is read in
//! the background.

mod assets;
mod block;
mod case;
mod coverage;
mod download;
mod error;
mod evidence;
mod gate;
mod gate_page;
mod key;
mod ledger;
mod live;
mod overview;
mod problems;
mod shelf;
mod shell;
mod text;
mod timeline;
mod transaction;
mod verdicts;

use std::{
    path::PathBuf,
    sync::{Arc, atomic::AtomicBool},
};

use axum::{
    Router,
    extract::{
        Path, Query, State,
        rejection::{PathRejection, QueryRejection},
    },
    http::{HeaderValue, StatusCode, header},
    response::{Html, IntoResponse, Response},
    routing::get,
};
use maud::Markup;
use serde::{Deserialize, de::DeserializeOwned};
use storage_snapshot::{Store, TopoHeight};
use tokio::sync::Semaphore;

use self::{error::PageError, gate::Gate, shelf::Shelf};
use crate::{accept::Acceptances, ledger::LedgerError, metrics::Metrics};

pub(crate) use self::ledger::Differing;

/// What pages are made of.
#[derive(Debug)]
pub(crate) struct Pages {
    metrics: Arc<Metrics>,
    store: Store,
    shelf: Shelf,
    gate: Gate,
    /// Set when the run is over.
    stopping: Arc<AtomicBool>,
    /// Who may be kept up to date at the same time.
    listeners: Arc<Semaphore>,
}

/// A page, without what all of them have.
#[derive(Debug)]
struct Page {
    title: String,
    body: Markup,
    /// Whether it keeps itself up to date.
    is_live: bool,
    /// What a program is told that reads nothing else of it.
    status: StatusCode,
}

impl Page {
    fn new(title: impl Into<String>, body: Markup) -> Self {
        Self { title: title.into(), body, is_live: false, status: StatusCode::OK }
    }
}

impl Pages {
    pub(crate) fn new(metrics: Arc<Metrics>, store: Store, stopping: Arc<AtomicBool>) -> Self {
        let shelf = Shelf::new(metrics.setup().evidence.clone());
        let listeners = Arc::new(Semaphore::new(live::LISTENERS_MAX));
        Self { metrics, store, shelf, gate: Gate::default(), stopping, listeners }
    }

    /// Looks at what the report says now, if it is time.
    fn look(&self) {
        self.gate.look(&self.metrics, &self.store, &self.stopping);
    }

    /// Where something differs below a topoheight, the newest first: at most so many blocks.
    pub(crate) fn differing(
        &self,
        before: TopoHeight,
        rows: usize,
    ) -> Result<Differing, LedgerError> {
        ledger::differing(self, before, rows)
    }

    /// What is accepted; what cannot be read accepts nothing.
    fn acceptances(&self) -> Acceptances {
        Acceptances::read(&self.metrics.setup().directory).unwrap_or_default()
    }

    fn state_dir(&self) -> &PathBuf {
        &self.metrics.setup().directory
    }
}

/// Everything that people look at.
pub(crate) fn router(pages: Arc<Pages>) -> Router {
    Router::new()
        .route("/", get(overview))
        .route("/events", get(live::events))
        .route("/problems", get(problems))
        .route("/problems/{fingerprint}", get(problem))
        .route("/mismatches", get(mismatches))
        .route("/ledger", get(ledger_entries))
        .route("/gate", get(gate))
        .route("/blocks/{topoheight}", get(block))
        .route("/blocks/{topoheight}/transactions/{index}", get(transaction))
        .route("/blocks/{topoheight}/keys/{*key}", get(key))
        .route("/evidence", get(evidence_list))
        .route("/evidence/{name}", get(download::evidence))
        .route("/evidence/{name}/{file}", get(download::file))
        .route("/assets/{name}", get(assets::asset))
        .with_state(pages)
}

type Pagers = State<Arc<Pages>>;
type Asked<T> = Result<Query<T>, QueryRejection>;
type Named<T> = Result<Path<T>, PathRejection>;

async fn overview(State(pages): Pagers) -> Response {
    live::wait_for_report(&pages).await;
    make(pages, |pages| Ok(overview::page(pages))).await
}

#[derive(Debug, Deserialize)]
struct Place {
    /// Only below this topoheight.
    before: Option<u64>,
    /// The first topoheight.
    from: Option<u64>,
    /// The last one.
    to: Option<u64>,
    /// How many are passed over.
    after: Option<u64>,
}

impl Place {
    fn before(&self) -> TopoHeight {
        self.before.map_or(TopoHeight::MAX, TopoHeight::new)
    }
}

async fn problems(State(pages): Pagers, asked: Asked<Place>) -> Response {
    make(pages, |pages| problems::list(pages, query(asked)?.after.unwrap_or_default())).await
}

async fn problem(State(pages): Pagers, named: Named<String>, asked: Asked<Place>) -> Response {
    make(pages, |pages| problems::one(pages, &path(named)?, query(asked)?.before())).await
}

async fn mismatches(State(pages): Pagers, asked: Asked<Place>) -> Response {
    make(pages, |pages| ledger::mismatches(pages, query(asked)?.before())).await
}

async fn ledger_entries(State(pages): Pagers, asked: Asked<Place>) -> Response {
    make(pages, |pages| {
        let place = query(asked)?;
        ledger::entries_between(pages, place.from, place.to)
    })
    .await
}

#[derive(Debug, Deserialize)]
struct GateQuery {
    require: Option<String>,
}

async fn gate(State(pages): Pagers, asked: Asked<GateQuery>) -> Response {
    live::wait_for_report(&pages).await;
    make(pages, |pages| gate_page::page(pages, query(asked)?.require)).await
}

async fn block(State(pages): Pagers, named: Named<String>, asked: Asked<Place>) -> Response {
    make(pages, |pages| {
        let at = topoheight(&path(named)?)?;
        block::page(pages, at, query(asked)?.after.unwrap_or_default())
    })
    .await
}

async fn transaction(State(pages): Pagers, named: Named<(String, String)>) -> Response {
    make(pages, |pages| {
        let (at, index) = path(named)?;
        let index = index.parse().map_err(|_| PageError::Nothing("transaction"))?;
        transaction::page(pages, topoheight(&at)?, index)
    })
    .await
}

async fn key(State(pages): Pagers, named: Named<(String, String)>) -> Response {
    make(pages, |pages| {
        let (at, key) = path(named)?;
        key::page(pages, topoheight(&at)?, &key)
    })
    .await
}

async fn evidence_list(State(pages): Pagers, asked: Asked<Place>) -> Response {
    make(pages, |pages| evidence::list(pages, query(asked)?.after.unwrap_or_default())).await
}

/// The page for whoever asks for something that is not there, and can read it.
pub(crate) async fn nothing(pages: Arc<Pages>) -> Response {
    make(pages, |_| Err(PageError::Nothing("page"))).await
}

/// Makes a page where waiting for the disk keeps nobody else waiting.
async fn make(
    pages: Arc<Pages>,
    work: impl FnOnce(&Pages) -> Result<Page, PageError> + Send + 'static,
) -> Response {
    let made = tokio::task::spawn_blocking(move || {
        let page = work(&pages).unwrap_or_else(|error| shell::error(&error));
        (page.status, shell::whole(&pages, page))
    })
    .await;
    let (status, page) = match made {
        Ok((status, page)) => (status, page.into_string()),
        Err(_) => (StatusCode::INTERNAL_SERVER_ERROR, PageError::Lost.to_string()),
    };
    let fresh = (header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    (status, [fresh], Html(page)).into_response()
}

fn query<T: DeserializeOwned>(asked: Asked<T>) -> Result<T, PageError> {
    asked.map(|Query(asked)| asked).map_err(|rejection| PageError::Address(rejection.body_text()))
}

fn path<T>(named: Named<T>) -> Result<T, PageError> {
    named.map(|Path(named)| named).map_err(|rejection| PageError::Address(rejection.body_text()))
}

fn topoheight(text: &str) -> Result<TopoHeight, PageError> {
    // One block has one address.
    let number = text.parse().ok().filter(|number: &u64| number.to_string() == text);
    number.map(TopoHeight::new).ok_or(PageError::Nothing("block"))
}

/// What a browser is told about everything that is answered: ask nobody else for anything, run nothing
/// but the script that comes with the pages, and take nothing for what it does not say it is.
pub(crate) async fn guarded(mut response: Response) -> Response {
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_FRAME_OPTIONS, "DENY"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; \
                      connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";
