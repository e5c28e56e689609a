//! What is new on the first page, told to whoever has it open: the sections that changed, about once a
//! second, as server-sent events.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use axum::{
    extract::State,
    http::{StatusCode, header},
    response::{
        IntoResponse, Response,
        sse::{Event, KeepAlive, Sse},
    },
};
use futures_util::stream;
use tokio::{
    sync::{OwnedSemaphorePermit, TryAcquireError},
    task::spawn_blocking,
    time::{Interval, MissedTickBehavior, interval, timeout},
};

use super::{Pages, overview};

/// Somebody who is kept up to date.
struct Listener {
    pages: Arc<Pages>,
    /// What they have.
    shown: BTreeMap<&'static str, String>,
    clock: Interval,
    _place: OwnedSemaphorePermit,
}

pub(super) async fn events(State(pages): State<Arc<Pages>>) -> Response {
    let place = match Arc::clone(&pages.listeners).try_acquire_owned() {
        Ok(place) => place,
        Err(TryAcquireError::NoPermits | TryAcquireError::Closed) => {
            let later = [(header::RETRY_AFTER, "10")];
            return (StatusCode::SERVICE_UNAVAILABLE, later, "too many listen\n").into_response();
        }
    };
    let mut clock = interval(PAUSE);
    clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let listener = Listener { pages, shown: BTreeMap::new(), clock, _place: place };
    let events = stream::unfold(listener, |mut listener| async move {
        let event = listener.next().await?;
        Some((Ok::<_, Infallible>(event), listener))
    });
    Sse::new(events).keep_alive(KeepAlive::default()).into_response()
}

impl Listener {
    /// The next event; none when the run is over.
    async fn next(&mut self) -> Option<Event> {
        loop {
            self.clock.tick().await;
            if self.pages.stopping.load(Ordering::Relaxed) {
                return None;
            }
            let pages = Arc::clone(&self.pages);
            look(&pages);
            let sections = spawn_blocking(move || overview::sections(&pages)).await.ok()?;
            let mut new = BTreeMap::new();
            for (id, section) in sections {
                let html = section.into_string();
                if self.shown.get(id) != Some(&html) {
                    new.insert(id, html.clone());
                    self.shown.insert(id, html);
                }
            }
            if !new.is_empty() {
                // A map of texts has a JSON form.
                return Event::default().event("sections").json_data(new).ok();
            }
        }
    }
}

/// Has the report brought up to date, if it is time, and waits for nothing.
fn look(pages: &Arc<Pages>) {
    let pages = Arc::clone(pages);
    drop(spawn_blocking(move || pages.look()));
}

/// The same, and waits a moment for the first one.
pub(super) async fn wait_for_report(pages: &Arc<Pages>) {
    if pages.gate.last().0.is_some() {
        return look(pages);
    }
    let looking = Arc::clone(pages);
    // Whoever does not come back in time is not waited for.
    let _late = timeout(PATIENCE, spawn_blocking(move || looking.look())).await;
}

/// How many are kept up to date at the same time.
pub(super) const LISTENERS_MAX: usize = 32;

const PAUSE: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_secs(1);
