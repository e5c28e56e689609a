//! What a node announces by itself.
//!
//! Events only say that it is worth to look: what happened is found out by asking. A node announces the
//! same blocks again and again while its chain is young, sends the events of one block in any order,
//! and says nothing to whoever was not connected, so nothing is concluded from their content, and
//! everything works without them, only later.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use backon::{BackoffBuilder, ExponentialBuilder};
use futures_util::{SinkExt, StreamExt};
use tokio::{net::TcpStream, sync::Notify, time::timeout};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async,
    tungstenite::{self, Message},
};

use super::{methods::SUBSCRIBE, traffic::Traffic};
use crate::metrics::NodeError as Failure;

/// Tells whoever waits that something may have happened.
#[derive(Debug, Default)]
pub(super) struct Hints {
    notify: Notify,
    connected: AtomicBool,
}

impl Hints {
    /// Waits for a hint, but not for longer than it is wise to trust that one would come.
    pub(super) async fn wait(&self) {
        let longest = if self.connected.load(Ordering::Relaxed) {
            SILENCE_CONNECTED_MAX
        } else {
            SILENCE_ALONE_MAX
        };
        // Hints that came meanwhile are kept as one.
        let _something_or_nothing = timeout(longest, self.notify.notified()).await;
    }

    pub(super) fn are_connected(&self) -> bool {
        self.connected.load(Ordering::Relaxed)
    }
}

/// Listens for as long as it is let, and connects again whenever the connection ends.
pub(super) async fn listen(url: String, hints: Arc<Hints>, traffic: Arc<Traffic>) {
    let growing = ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(200))
        .with_max_delay(Duration::from_secs(10))
        .without_max_times()
        .with_jitter();
    let mut pauses = growing.build();
    loop {
        let began = Instant::now();
        // Who hangs up at once, however politely, is not asked again at once.
        if listen_once(&url, &hints, &traffic).await && began.elapsed() > LIFE_MIN {
            pauses = growing.build();
        }
        let pause = pauses.next().unwrap_or(SILENCE_CONNECTED_MAX);
        tokio::time::sleep(pause).await;
    }
}

/// Whether the connection was made and used before it ended.
async fn listen_once(url: &str, hints: &Hints, traffic: &Traffic) -> bool {
    let started = Instant::now();
    let subscribed = subscribe(url).await;
    traffic.subscribed(started.elapsed(), subscribed.as_ref().err().copied());
    let Ok(mut socket) = subscribed else { return false };
    hints.connected.store(true, Ordering::Relaxed);
    tracing::debug!(url, "listening for events");
    // Whatever was announced before nobody heard.
    hints.notify.notify_one();
    // A node sends a ping every few seconds, so a silent connection is a dead one.
    while let Ok(Some(Ok(message))) = timeout(DEAD_AFTER, socket.next()).await {
        if let Message::Text(text) = message
            && text.contains("\"event\"")
        {
            traffic.event();
            hints.notify.notify_one();
        }
    }
    hints.connected.store(false, Ordering::Relaxed);
    tracing::debug!(url, "the connection for events ended");
    true
}

async fn subscribe(url: &str) -> Result<Socket, Failure> {
    let connected = timeout(CONNECT_TIMEOUT, connect_async(url)).await;
    let (mut socket, _) = connected.map_err(|_| Failure::Timeout)?.map_err(|error| kind(&error))?;
    for (id, event) in SUBSCRIPTIONS.iter().enumerate() {
        let subscribe = serde_json::json!({
            "jsonrpc": "2.0", "id": id, "method": SUBSCRIBE, "params": { "notify": event },
        });
        let sent = socket.send(Message::text(subscribe.to_string())).await;
        sent.map_err(|error| kind(&error))?;
    }
    Ok(socket)
}

const fn kind(error: &tungstenite::Error) -> Failure {
    match error {
        tungstenite::Error::Http(_) => Failure::Status,
        _ => Failure::Connect,
    }
}

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

const SUBSCRIPTIONS: [&str; 4] =
    ["block_ordered", "block_orphaned", "stable_topo_height_changed", "new_block"];

/// How long nothing may be announced before the node is asked anyway.
const SILENCE_CONNECTED_MAX: Duration = Duration::from_secs(2);

/// The same while nothing can be announced.
const SILENCE_ALONE_MAX: Duration = Duration::from_millis(500);

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const DEAD_AFTER: Duration = Duration::from_secs(30);

/// How long a connection lasts that is worth to be made again soon.
const LIFE_MIN: Duration = Duration::from_secs(5);
