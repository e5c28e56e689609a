//! The listener: questions over HTTP, the same and events over WebSockets.

use std::{
    collections::HashMap,
    net::{SocketAddr, TcpListener},
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    time::Duration,
};

use axum::{
    Router,
    extract::{
        ConnectInfo, DefaultBodyLimit, State,
        ws::{self, WebSocket, WebSocketUpgrade},
    },
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::post,
};
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::{
    runtime::{Builder, Runtime},
    sync::broadcast::{self, error::RecvError},
    time::{Instant, MissedTickBehavior},
};

use super::{
    DevnetError,
    counters::Counters,
    events::{Event, EventKind},
    faults::{Fault, Faults},
    methods,
    node::Order,
    rpc::{Answer, INTERNAL_ERROR, Message, RpcError, read_call, read_message, write_response},
    served_chain::ServedChain,
    wire::{Allowance, Wires},
};

/// What everything that runs for one node shares.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) chain: RwLock<ServedChain>,
    pub(super) counters: Counters,
    pub(super) events: broadcast::Sender<Arc<Vec<Event>>>,
    /// What the node says it is.
    pub(super) version: String,
    pub(super) faults: Faults,
    /// To whoever can take the listener away.
    pub(super) orders: mpsc::Sender<Order>,
    /// Whether the node is about to go away anyway.
    pub(super) is_leaving: AtomicBool,
}

impl Shared {
    pub(super) fn read<R>(&self, read: impl FnOnce(&ServedChain) -> R) -> R {
        // A burst that panicked leaves a chain that is still one.
        read(&self.chain.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether a fault is played this time.
    pub(super) fn strikes(&self, fault: Fault) -> bool {
        self.faults.strikes(fault, &self.counters)
    }

    /// What happens to a message before anybody reads it, and whether its connection ends.
    async fn fault_of_message(&self) -> Option<Fault> {
        if self.strikes(Fault::Slow) {
            tokio::time::sleep(self.faults.pause()).await;
        }
        if self.strikes(Fault::Restart) && !self.is_leaving.swap(true, Ordering::Relaxed) {
            let (reply, _unheard) = mpsc::channel();
            let pause = self.faults.pause();
            // A node that has stopped does not come back either.
            let _stopped = self.orders.send(Order::Restart { pause, reply });
        }
        [Fault::Drop, Fault::Half].into_iter().find(|fault| self.strikes(*fault))
    }
}

/// Serves on a listener until the runtime is dropped, and with it every connection.
pub(super) fn serve(shared: &Arc<Shared>, listener: TcpListener) -> Result<Runtime, DevnetError> {
    let runtime = Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .thread_name("shadow-devnet-rpc")
        .enable_all()
        .build()
        .map_err(DevnetError::Thread)?;
    let router = Router::new()
        .route("/json_rpc", post(over_http).get(over_websocket))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(Arc::clone(shared));
    runtime.spawn(async move {
        let service = router.into_make_service_with_connect_info::<Allowance>();
        let served = match tokio::net::TcpListener::from_std(listener) {
            Ok(listener) => axum::serve(Wires(listener), service).await,
            Err(error) => Err(error),
        };
        if let Err(error) = served {
            tracing::error!(%error, "the stand-in node cannot listen any more");
        }
    });
    Ok(runtime)
}

/// Listens at an address.
///
/// # Errors
///
/// When somebody else does, or the address is not this machine's.
pub(super) fn listen(address: SocketAddr) -> Result<TcpListener, DevnetError> {
    let refused = |source| DevnetError::Listen { address, source };
    // The standard library lets an address be taken again while old connections of it fade.
    let listener = TcpListener::bind(address).map_err(refused)?;
    listener.set_nonblocking(true).map_err(refused)?;
    Ok(listener)
}

async fn over_http(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(connection): ConnectInfo<Allowance>,
    body: String,
) -> Response {
    let _in_flight = shared.counters.message();
    let fault = shared.fault_of_message().await;
    if fault == Some(Fault::Drop) {
        connection.end_after(0);
    } else if shared.strikes(Fault::Http500) {
        return (StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error").into_response();
    }
    let text = answer_message(&shared, &body, &mut None);
    shared.counters.answered(text.len());
    if fault == Some(Fault::Half) {
        connection.end_after(HEAD_BYTES + text.len() / 2);
    }
    ([(header::CONTENT_TYPE, "application/json")], text).into_response()
}

async fn over_websocket(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(connection): ConnectInfo<Allowance>,
    upgrade: WebSocketUpgrade,
) -> Response {
    upgrade.on_upgrade(|socket| async move {
        shared.counters.socket();
        let events = shared.events.subscribe();
        Session { subscriptions: HashMap::new(), connection }.run(&shared, socket, events).await;
    })
}

/// One WebSocket connection.
#[derive(Debug)]
struct Session {
    /// The id under which each kind of event was asked for.
    subscriptions: HashMap<EventKind, Box<RawValue>>,
    connection: Allowance,
}

impl Session {
    async fn run(
        mut self,
        shared: &Shared,
        mut socket: WebSocket,
        mut events: broadcast::Receiver<Arc<Vec<Event>>>,
    ) {
        let mut pings = tokio::time::interval(PING_EVERY);
        pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut heard = Instant::now();
        loop {
            tokio::select! {
                // Who asks what there is has been told of it before.
                biased;
                burst = events.recv() => match burst {
                    Ok(burst) => {
                        for event in burst.iter() {
                            let Some(id) = self.subscriptions.get(&event.kind) else { continue };
                            let text = format!(
                                "{{\"id\":{id},\"jsonrpc\":\"2.0\",\"result\":{}}}",
                                event.text
                            );
                            if socket.send(ws::Message::Text(text.into())).await.is_err() {
                                return;
                            }
                        }
                    }
                    // Who does not keep up misses some.
                    Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => return,
                },
                message = socket.recv() => {
                    let Some(Ok(message)) = message else { return };
                    heard = Instant::now();
                    let answer = match message {
                        ws::Message::Text(text) => {
                            let _in_flight = shared.counters.message();
                            if shared.fault_of_message().await.is_some() {
                                self.connection.end_after(0);
                                return;
                            }
                            let text = answer_message(shared, &text, &mut Some(&mut self));
                            shared.counters.answered(text.len());
                            ws::Message::Text(text.into())
                        }
                        // The node's answer to a ping is empty, whatever the ping carried.
                        ws::Message::Ping(_) => ws::Message::Pong(Default::default()),
                        ws::Message::Close(_) => return,
                        ws::Message::Binary(_) | ws::Message::Pong(_) => continue,
                    };
                    if socket.send(answer).await.is_err() {
                        return;
                    }
                }
                _ = pings.tick() => {
                    if heard.elapsed() > SILENCE_MAX {
                        return;
                    }
                    if socket.send(ws::Message::Ping(Default::default())).await.is_err() {
                        return;
                    }
                }
            }
        }
    }

    fn subscribe(&mut self, id: Option<&RawValue>, params: Option<&RawValue>) -> Answer {
        let kind = notified(params)?;
        let id = id.map_or_else(|| RawValue::NULL.to_owned(), ToOwned::to_owned);
        Ok(self.subscriptions.insert(kind, id).is_none().to_string())
    }

    fn unsubscribe(&mut self, params: Option<&RawValue>) -> Answer {
        let kind = notified(params)?;
        Ok(self.subscriptions.remove(&kind).is_some().to_string())
    }
}

/// Which events are meant.
fn notified(params: Option<&RawValue>) -> Result<EventKind, RpcError> {
    #[derive(Deserialize)]
    struct Params {
        notify: String,
    }
    let Some(params) = params else {
        return Err(RpcError::invalid_params("missing field `notify`"));
    };
    let Params { notify } = serde_json::from_str(params.get()).map_err(RpcError::invalid_params)?;
    notify.parse().map_err(|()| RpcError::invalid_params(format!("unknown variant `{notify}`")))
}

/// Everything that is answered to one message.
fn answer_message(shared: &Shared, text: &str, session: &mut Option<&mut Session>) -> String {
    let mut response = String::new();
    match read_message(text) {
        Err(error) => write_response(None, &Err(error), &mut response),
        Ok(Message::One(call)) => {
            shared.counters.batch(1);
            answer_call(shared, call, session, &mut response);
        }
        Ok(Message::Batch(calls)) => {
            shared.counters.batch(calls.len());
            response.push('[');
            for (index, call) in calls.iter().enumerate() {
                if index > 0 {
                    response.push(',');
                }
                answer_call(shared, call, session, &mut response);
            }
            response.push(']');
        }
    }
    response
}

fn answer_call(
    shared: &Shared,
    raw: &RawValue,
    session: &mut Option<&mut Session>,
    response: &mut String,
) {
    let call = match read_call(raw) {
        Ok(call) => call,
        Err(error) => return write_response(None, &Err(error), response),
    };
    shared.counters.question(&call.method);
    let answer = match (&*call.method, session) {
        ("subscribe", Some(session)) => session.subscribe(call.id, call.params),
        ("unsubscribe", Some(session)) => session.unsubscribe(call.params),
        _ if shared.strikes(Fault::Error) => {
            Err(RpcError::new(INTERNAL_ERROR, "Internal error: the storage is busy"))
        }
        (method, _) => {
            let answer =
                shared.read(|chain| methods::answer(chain, &shared.version, method, call.params));
            match answer {
                Ok(text) if has_blocks(method) && shared.strikes(Fault::WrongHash) => {
                    Ok(shared.faults.spoil_hash(text))
                }
                answer => answer,
            }
        }
    };
    write_response(call.id, &answer, response);
}

fn has_blocks(method: &str) -> bool {
    method.starts_with("get_block") || method == "get_top_block" || method == "get_dag_order"
}

/// Not more than what stands before an answer on the wire, so that half an answer never is a whole.
const HEAD_BYTES: usize = 100;

/// The largest request that the node reads.
const BODY_BYTES_MAX: usize = 262_144;

const PING_EVERY: Duration = Duration::from_secs(5);

/// After so long without a word the node hangs up.
const SILENCE_MAX: Duration = Duration::from_secs(30);

const WORKERS: usize = 2;
