//! The client: questions to a node and its answers, within limits.
//!
//! The node comes first. So few requests are under way at once, and so few a second are begun, that a
//! node does not notice; whoever asks faster waits here. A request that fails is repeated after a pause
//! that grows and is a little random, because a node that is in trouble is not helped by being asked
//! again at once.

use std::{
    fmt,
    num::NonZeroU32,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use backon::{BackoffBuilder, ExponentialBuilder};
use futures_util::future::try_join_all;
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use reqwest::redirect::Policy;
use serde::{Deserialize, Serialize, de::Error as _};
use serde_json::{Value, value::RawValue};
use tokio::sync::Semaphore;

use super::{error::NodeError, methods, traffic::Traffic};
use crate::source::answer_json::RpcError;

/// How a node is spoken to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientOptions {
    /// Where it is: `http://127.0.0.1:8080`.
    pub url: String,
    /// How many requests may be under way at once.
    pub in_flight: usize,
    /// How many requests a second may be begun.
    pub requests_per_second: NonZeroU32,
    /// How long an answer may take.
    pub timeout: Duration,
}

impl ClientOptions {
    /// The usual limits.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            in_flight: 4,
            requests_per_second: NonZeroU32::new(500).unwrap_or(NonZeroU32::MIN),
            timeout: Duration::from_secs(10),
        }
    }
}

/// Asks one node. Cheap to clone; every clone is the same client.
#[derive(Clone)]
pub struct NodeClient {
    shared: Arc<Shared>,
}

struct Shared {
    http: reqwest::Client,
    rpc_url: String,
    events_url: String,
    permits: Semaphore,
    in_flight: AtomicUsize,
    limiter: DefaultDirectRateLimiter,
    next_id: AtomicU64,
    traffic: Arc<Traffic>,
}

/// One question.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(super) method: &'static str,
    /// A question without parameters must not even have an empty object of them.
    params: Option<Value>,
}

impl Call {
    pub(crate) const fn plain(method: &'static str) -> Self {
        Self { method, params: None }
    }

    pub(crate) const fn with(method: &'static str, params: Value) -> Self {
        Self { method, params: Some(params) }
    }
}

/// How old answers may be that are used together, where some come only when they are asked for again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Age {
    Any,
    /// What was answered before the first question was is asked again.
    SinceTheFirst,
}

/// What a node says to a question that it understood.
#[derive(Debug)]
pub(crate) enum Answer {
    Found(Box<RawValue>),
    /// There is no such thing.
    NotFound {
        /// The code of the error.
        code: i64,
        /// What the node says.
        message: String,
    },
}

impl Answer {
    /// The answer to a question that every node has an answer to.
    pub(super) fn found(self, method: &'static str) -> Result<Box<RawValue>, NodeError> {
        match self {
            Self::Found(result) => Ok(result),
            Self::NotFound { code, message } => Err(NodeError::Failed { method, code, message }),
        }
    }
}

impl NodeClient {
    /// A client; nothing is asked yet.
    ///
    /// # Errors
    ///
    /// When the URL is not one of a node.
    pub fn new(options: &ClientOptions) -> Result<Self, NodeError> {
        let (rpc_url, events_url) = urls(&options.url)?;
        let http = reqwest::Client::builder()
            .timeout(options.timeout)
            .connect_timeout(options.timeout.min(CONNECT_TIMEOUT_MAX))
            .pool_max_idle_per_host(options.in_flight)
            .tcp_nodelay(true)
            .no_proxy()
            // Whoever is sent on would speak to somebody that nobody named.
            .redirect(Policy::none())
            .build()
            .map_err(NodeError::Unreachable)?;
        Ok(Self {
            shared: Arc::new(Shared {
                http,
                rpc_url,
                events_url,
                permits: Semaphore::new(options.in_flight.max(1)),
                in_flight: AtomicUsize::new(0),
                limiter: RateLimiter::direct(Quota::per_second(options.requests_per_second)),
                next_id: AtomicU64::new(1),
                traffic: Arc::default(),
            }),
        })
    }

    /// What was asked so far.
    pub fn traffic(&self) -> Arc<Traffic> {
        Arc::clone(&self.shared.traffic)
    }

    /// Where the node announces events.
    pub(super) fn events_url(&self) -> &str {
        &self.shared.events_url
    }

    /// Asks one thing.
    pub(super) async fn ask(&self, call: Call) -> Result<Answer, NodeError> {
        let method = call.method;
        let mut answers = self.ask_all(vec![call]).await?;
        answers.pop().ok_or(NodeError::Incomplete { method })
    }

    /// Asks many things, in requests of up to [`BATCH_MAX`]; the answers come in the order of the
    /// questions.
    pub(crate) async fn ask_all(&self, calls: Vec<Call>) -> Result<Vec<Answer>, NodeError> {
        self.ask_in_batches(calls, BATCH_MAX).await
    }

    /// The same, in requests of at most so many.
    pub(super) async fn ask_in_batches(
        &self,
        calls: Vec<Call>,
        batch: usize,
    ) -> Result<Vec<Answer>, NodeError> {
        let batches = calls.chunks(batch.clamp(1, BATCH_MAX));
        let batches = batches.map(|batch| self.repeat(batch, Age::Any));
        Ok(try_join_all(batches).await?.into_iter().flatten().collect())
    }

    /// The same, and nothing is asked again: what a node says only then it may not have known before. So
    /// each question is put several times at once, and one answer to it is enough: of a node that fails
    /// now and then some answer is always missing.
    pub(super) async fn ask_all_once(&self, calls: Vec<Call>) -> Result<Vec<Answer>, NodeError> {
        let mut answers = Vec::with_capacity(calls.len());
        for batch in calls.chunks(BATCH_MAX / TIMES_AT_ONCE) {
            let asked: Vec<_> = batch.iter().flat_map(|call| [call; TIMES_AT_ONCE]).collect();
            let mut replies = self.request(&asked).await?.into_iter();
            for Call { method, .. } in batch {
                let said = replies.by_ref().take(TIMES_AT_ONCE).reduce(Result::or);
                answers.push(said.unwrap_or(Err(NodeError::Incomplete { method }))?);
            }
        }
        Ok(answers)
    }

    /// Asks a few things, in one request, and takes no answer that is older than the one to the first.
    pub(super) async fn ask_since_the_first(
        &self,
        calls: &[Call],
    ) -> Result<Vec<Answer>, NodeError> {
        self.repeat(calls, Age::SinceTheFirst).await
    }

    /// One request; what was not answered is asked again while that may help. What was answered is not:
    /// a large block takes thousands of questions, and of a node that fails now and then some answer is
    /// always missing.
    async fn repeat(&self, calls: &[Call], age: Age) -> Result<Vec<Answer>, NodeError> {
        let mut pauses = ExponentialBuilder::default()
            .with_min_delay(Duration::from_millis(50))
            .with_max_delay(Duration::from_secs(2))
            .with_max_times(REPETITIONS_MAX)
            .with_jitter()
            .build();
        let mut answers: Vec<Option<Answer>> = calls.iter().map(|_| None).collect();
        loop {
            let places: Vec<_> =
                (0..calls.len()).filter(|place| answers[*place].is_none()).collect();
            let asked: Vec<_> = places.iter().map(|place| &calls[*place]).collect();
            let mut failed = None;
            match self.request(&asked).await {
                Ok(replies) => {
                    for (place, reply) in places.into_iter().zip(replies) {
                        match reply {
                            Ok(answer) => answers[place] = Some(answer),
                            Err(error) if error.is_transient() => failed = failed.or(Some(error)),
                            Err(error) => return Err(error),
                        }
                    }
                }
                Err(error) if error.is_transient() => failed = Some(error),
                Err(error) => return Err(error),
            }
            if age == Age::SinceTheFirst && matches!(answers.first(), Some(None)) {
                answers.fill_with(|| None);
            }
            let Some(error) = failed else { return Ok(answers.into_iter().flatten().collect()) };
            let Some(pause) = pauses.next() else { return Err(error) };
            tracing::debug!(%error, ?pause, "the node is asked again");
            tokio::time::sleep(pause).await;
        }
    }

    async fn request(&self, calls: &[&Call]) -> Result<Vec<Result<Answer, NodeError>>, NodeError> {
        let shared = &*self.shared;
        // The semaphore is never closed; should it be, there is no limit left to keep.
        let _permit = shared.permits.acquire().await;
        shared.limiter.until_ready().await;
        let _in_flight = InFlight::begin(&shared.in_flight);
        let method = match calls {
            [call] => call.method,
            _ => methods::BATCH,
        };
        let started = Instant::now();
        shared.traffic.started(method);
        let asked = self.exchange(calls).await;
        let error = match &asked {
            Ok(replies) => replies.iter().find_map(|reply| reply.as_ref().err()),
            Err(error) => Some(error),
        };
        shared.traffic.ended(method, started.elapsed(), error);
        asked
    }

    async fn exchange(&self, calls: &[&Call]) -> Result<Vec<Result<Answer, NodeError>>, NodeError> {
        let shared = &*self.shared;
        let first_id = shared.next_id.fetch_add(calls.len() as u64, Ordering::Relaxed);
        let body = body_of(calls, first_id).map_err(NodeError::Garbled)?;
        shared.traffic.sent(body.len(), shared.in_flight.load(Ordering::Relaxed));
        let started = Instant::now();
        let mut response = shared
            .http
            .post(&shared.rpc_url)
            .header("content-type", "application/json")
            .body(body)
            .send()
            .await
            .map_err(NodeError::Unreachable)?;
        let status = response.status();
        if status.is_redirection() {
            let place = response.headers().get("location").and_then(|place| place.to_str().ok());
            let text = place.unwrap_or("nowhere").to_owned();
            return Err(NodeError::Status { status: status.as_u16(), text });
        }
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(NodeError::Unreachable)? {
            if bytes.len() + chunk.len() > ANSWER_BYTES_MAX {
                return Err(NodeError::TooLong);
            }
            bytes.extend_from_slice(&chunk);
        }
        shared.traffic.received(bytes.len());
        if !status.is_success() {
            let text = String::from_utf8_lossy(&bytes).chars().take(80).collect();
            return Err(NodeError::Status { status: status.as_u16(), text });
        }
        let mut replies: Vec<Option<Reply<'_>>> = calls.iter().map(|_| None).collect();
        for reply in replies_in(&bytes)? {
            let index = reply.id.and_then(|id| id.checked_sub(first_id));
            let place = index.and_then(|index| replies.get_mut(usize::try_from(index).ok()?));
            match (place, reply.error) {
                (Some(place @ None), _) => *place = Some(reply),
                // Nothing says which question it is about, so it is about all of them.
                (None, Some(error)) if reply.id.is_none() => {
                    let method = calls.first().map_or("a request", |call| call.method);
                    return Err(failure(method, error));
                }
                // Where one answer is in the wrong place, any of them may be.
                (Some(Some(_)), _) => return Err(garbled("two answers to one question")),
                (None, _) => return Err(garbled("an answer to what nobody asked")),
            }
        }
        let mut counted = Vec::with_capacity(calls.len());
        let answers = calls.iter().zip(replies).map(|(call, reply)| {
            let method = call.method;
            let Some(reply) = reply else { return Err(NodeError::Incomplete { method }) };
            let bytes = reply.result.map_or(0, |result| result.get().len());
            let answer = reply.answer(method);
            counted.push((method, bytes, answer.is_err()));
            answer
        });
        let answers = answers.collect();
        shared.traffic.answered(started.elapsed(), counted);
        Ok(answers)
    }
}

impl fmt::Debug for NodeClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NodeClient").field("url", &self.shared.rpc_url).finish_non_exhaustive()
    }
}

/// Counts a request as long as it is under way, however it ends.
struct InFlight<'a>(&'a AtomicUsize);

impl<'a> InFlight<'a> {
    fn begin(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Refuses what is not the address of a node, without asking there.
///
/// # Errors
///
/// When it is not.
pub(crate) fn check_address(url: &str) -> Result<(), NodeError> {
    urls(url).map(drop)
}

/// Where a node is asked, and where it announces events.
fn urls(url: &str) -> Result<(String, String), NodeError> {
    let wrong = || NodeError::Url { url: url.to_owned() };
    let parsed = reqwest::Url::parse(url).map_err(|_| wrong())?;
    // Nodes are spoken to where they are.
    if parsed.scheme() == "https" {
        return Err(NodeError::Tls { url: url.to_owned() });
    }
    let is_more = parsed.query().is_some() || parsed.fragment().is_some();
    if parsed.scheme() != "http" || parsed.host_str().is_none() || is_more {
        return Err(wrong());
    }
    let base = parsed.as_str().trim_end_matches('/').trim_end_matches("/json_rpc").to_owned();
    let events = base.strip_prefix("http").ok_or_else(wrong)?;
    Ok((format!("{base}/json_rpc"), format!("ws{events}/json_rpc")))
}

#[derive(Serialize)]
struct Request<'a> {
    jsonrpc: &'static str,
    id: u64,
    method: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    params: Option<&'a Value>,
}

fn body_of(calls: &[&Call], first_id: u64) -> Result<Vec<u8>, serde_json::Error> {
    let requests: Vec<_> = (first_id..)
        .zip(calls)
        .map(|(id, call)| Request {
            jsonrpc: "2.0",
            id,
            method: call.method,
            params: call.params.as_ref(),
        })
        .collect();
    match requests.as_slice() {
        [one] => serde_json::to_vec(one),
        many => serde_json::to_vec(many),
    }
}

#[derive(Deserialize)]
struct Reply<'a> {
    id: Option<u64>,
    #[serde(borrow, default)]
    result: Option<&'a RawValue>,
    #[serde(borrow, default)]
    error: Option<RpcError<'a>>,
}

impl Reply<'_> {
    fn answer(self, method: &'static str) -> Result<Answer, NodeError> {
        match (self.result, self.error) {
            (Some(_), Some(_)) => Err(garbled("a result and an error in one answer")),
            (Some(result), None) => Ok(Answer::Found(result.to_owned())),
            (None, Some(error)) if error.is_not_found() => {
                Ok(Answer::NotFound { code: error.code, message: error.message() })
            }
            (None, Some(error)) => Err(failure(method, error)),
            // A result of null is one.
            (None, None) => Ok(Answer::Found(RawValue::NULL.to_owned())),
        }
    }
}

fn failure(method: &'static str, error: RpcError<'_>) -> NodeError {
    let (code, message) = (error.code, error.message());
    match code {
        METHOD_NOT_FOUND | INVALID_PARAMS => NodeError::Refused { method, code, message },
        _ => NodeError::Failed { method, code, message },
    }
}

fn garbled(why: &str) -> NodeError {
    NodeError::Garbled(serde_json::Error::custom(why))
}

fn replies_in(body: &[u8]) -> Result<Vec<Reply<'_>>, NodeError> {
    let replies = if body.trim_ascii_start().starts_with(b"[") {
        serde_json::from_slice(body)
    } else {
        serde_json::from_slice(body).map(|reply| vec![reply])
    };
    replies.map_err(NodeError::Garbled)
}

/// How many questions a node takes in one request.
pub(super) const BATCH_MAX: usize = 20;

/// How often one request puts a question that is not asked again.
const TIMES_AT_ONCE: usize = 3;

/// How often a request is repeated before whoever asked is told.
const REPETITIONS_MAX: usize = 5;

const CONNECT_TIMEOUT_MAX: Duration = Duration::from_secs(5);

/// A block of a node is a few mebibytes of JSON, and so many of them are asked for at once that they
/// stay far below this.
const ANSWER_BYTES_MAX: usize = 256 << 20;

const METHOD_NOT_FOUND: i64 = -32601;
const INVALID_PARAMS: i64 = -32602;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_of_a_node_is_read_in_every_usual_spelling() {
        #[track_caller]
        fn check(url: &str) {
            let (rpc, events) = urls(url).unwrap();
            assert_eq!(rpc, "http://127.0.0.1:8080/json_rpc");
            assert_eq!(events, "ws://127.0.0.1:8080/json_rpc");
        }
        check("http://127.0.0.1:8080");
        check("http://127.0.0.1:8080/");
        check("http://127.0.0.1:8080/json_rpc");
    }

    #[test]
    fn what_is_no_address_of_a_node_is_refused() {
        let urls_of_none =
            ["", "127.0.0.1:8080", "ws://n:1", "http://", "http://n/?a", "http://n/#a"];
        for url in urls_of_none {
            assert!(matches!(urls(url), Err(NodeError::Url { .. })), "{url}");
        }
        assert!(matches!(urls("https://node:1"), Err(NodeError::Tls { .. })));
    }

    #[test]
    fn there_is_no_such_thing_is_an_answer_and_other_errors_are_not() {
        #[track_caller]
        fn check(code: i64, message: &str, expected: &str) {
            let text = serde_json::json!({"id": 1, "error": {"code": code, "message": message}});
            let text = text.to_string();
            let reply: Reply<'_> = serde_json::from_str(&text).unwrap();
            let found = match reply.answer(methods::NONCE) {
                Ok(Answer::Found(_)) => "found",
                Ok(Answer::NotFound { .. }) => "not found",
                Err(NodeError::Refused { .. }) => "refused",
                Err(error) if error.is_transient() => "failed",
                Err(_) => "other",
            };
            assert_eq!(found, expected, "{code} {message}");
        }
        check(
            -32004,
            "Error while retrieving nonce: Data not found on disk: load data",
            "not found",
        );
        check(-32004, "Error while retrieving multisig: no multisig found", "not found");
        check(
            -32004,
            "Error while retrieving last balance: No account found for tst1",
            "not found",
        );
        check(269, "Data not found on disk: load data", "not found");
        check(-32004, "Error while getting topoheight for reward calculation", "failed");
        check(-32004, "Invalid range count requested: Invalid JSON request", "failed");
        check(-32603, "not found, but for another reason", "failed");
        check(-32601, "Method 'get_height' in request was not found", "refused");
        check(-32602, "Unexpected parameters for this method", "refused");
    }
}
