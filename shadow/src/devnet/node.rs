//! One stand-in node: a thread that makes blocks appear and looks after the listener.

use std::{
    net::{SocketAddr, TcpListener},
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
        mpsc::{self, Receiver, RecvTimeoutError, Sender},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use rand::seq::SliceRandom;
use storage_snapshot::TopoHeight;
use tokio::{runtime::Runtime, sync::broadcast};

use super::{
    DevnetError, DevnetOptions, Fault, Pace, Requests,
    counters::Counters,
    events::{Event, events_of},
    faults::Faults,
    feed::Feed,
    served_chain::ServedChain,
    server::{Shared, listen, serve},
};
use crate::chain::Network;

/// A stand-in node that is running. It stops when it is dropped.
#[derive(Debug)]
pub struct DevnetNode {
    address: SocketAddr,
    shared: Arc<Shared>,
    orders: Sender<Order>,
    thread: Option<JoinHandle<()>>,
}

/// What a node is told to do.
#[derive(Debug)]
pub(super) enum Order {
    Advance { steps: u64, reply: Sender<Result<Progress, DevnetError>> },
    Restart { pause: Duration, reply: Sender<Result<(), DevnetError>> },
    Stop,
}

/// How far a stand-in node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The position of its last block.
    pub topoheight: TopoHeight,
    /// Below this, included, nothing changes any more.
    pub stable_topoheight: TopoHeight,
    /// Whether this is the end of the chain that it serves.
    pub is_complete: bool,
}

impl DevnetNode {
    /// Starts a node, and returns once it can be asked.
    ///
    /// # Errors
    ///
    /// When there is nothing to serve, or nobody can listen.
    pub fn start(options: DevnetOptions) -> Result<Self, DevnetError> {
        let mut chain = ServedChain::new(Network::Test);
        let counters = Counters::default();
        let faults = Faults::new(options.faults.clone(), options.seed);
        let mut feed = Feed::open(&options, &mut chain)?;
        let mut is_complete = feed.advance(&mut chain, || false)?.is_none();
        while options.pace == Pace::AllAtOnce && !is_complete {
            is_complete = feed.advance(&mut chain, || false)?.is_none();
        }
        let listener = listen(options.listen)?;
        let address = listener
            .local_addr()
            .map_err(|source| DevnetError::Listen { address: options.listen, source })?;
        let (orders, inbox) = mpsc::channel();
        let shared = Arc::new(Shared {
            chain: RwLock::new(chain),
            counters,
            events: broadcast::Sender::new(BURSTS_MAX),
            version: options.version,
            faults,
            orders: orders.clone(),
            is_leaving: AtomicBool::new(false),
        });
        let runtime = serve(&shared, listener)?;
        let keeper = Keeper {
            address,
            shared: Arc::clone(&shared),
            feed,
            is_complete,
            pace: options.pace,
            delayed: Vec::new(),
            runtime: Some(runtime),
        };
        let thread = std::thread::Builder::new()
            .name("shadow-devnet".to_owned())
            .spawn(move || keeper.run(&inbox))
            .map_err(DevnetError::Thread)?;
        Ok(Self { address, shared, orders, thread: Some(thread) })
    }

    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The same as a client is told it.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What it was asked so far.
    pub fn requests(&self) -> Requests {
        self.shared.counters.read()
    }

    /// How far it is.
    pub fn progress(&self) -> Progress {
        self.shared.read(Progress::of)
    }

    /// Makes the next steps of its chain happen, whatever its pace, and tells how far it is then.
    ///
    /// # Errors
    ///
    /// When the chain cannot be read on.
    pub fn advance(&self, steps: u64) -> Result<Progress, DevnetError> {
        self.order(|reply| Order::Advance { steps, reply })
    }

    /// Ends every connection, listens to nobody for so long, and comes back at the same address.
    ///
    /// # Errors
    ///
    /// When the address was taken meanwhile.
    pub fn restart(&self, pause: Duration) -> Result<(), DevnetError> {
        self.order(|reply| Order::Restart { pause, reply })
    }

    /// Stops it, and returns once its address is free.
    pub fn shutdown(mut self) {
        self.stop();
    }

    fn order<T>(
        &self,
        order: impl FnOnce(Sender<Result<T, DevnetError>>) -> Order,
    ) -> Result<T, DevnetError> {
        let (reply, answer) = mpsc::channel();
        self.orders.send(order(reply)).map_err(|_| DevnetError::Stopped)?;
        answer.recv().map_err(|_| DevnetError::Stopped)?
    }

    fn stop(&mut self) {
        // A node that has stopped by itself takes no orders.
        let _stopped = self.orders.send(Order::Stop);
        if let Some(thread) = self.thread.take() {
            let _panicked = thread.join();
        }
    }
}

impl Drop for DevnetNode {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Progress {
    fn of(chain: &ServedChain) -> Self {
        Self {
            topoheight: chain.top().map(|block| block.topoheight()).unwrap_or_default(),
            stable_topoheight: TopoHeight::new(chain.stable().topoheight),
            is_complete: chain.is_complete(),
        }
    }
}

/// The thread behind a node.
struct Keeper {
    address: SocketAddr,
    shared: Arc<Shared>,
    feed: Feed,
    is_complete: bool,
    pace: Pace,
    /// Events that come late.
    delayed: Vec<Event>,
    /// Whatever serves; none while the node is away.
    runtime: Option<Runtime>,
}

impl Keeper {
    fn run(mut self, inbox: &Receiver<Order>) {
        let mut due = self.interval().map(|every| Instant::now() + every);
        loop {
            let order = match due.filter(|_| !self.is_complete) {
                Some(due) => inbox.recv_timeout(due.saturating_duration_since(Instant::now())),
                None => inbox.recv().map_err(RecvTimeoutError::from),
            };
            match order {
                Ok(Order::Advance { steps, reply }) => {
                    // Nobody may be waiting any more.
                    let _unheard = reply.send(self.advance(steps));
                }
                Ok(Order::Restart { pause, reply }) => {
                    let _unheard = reply.send(self.restart(pause));
                }
                Ok(Order::Stop) | Err(RecvTimeoutError::Disconnected) => {
                    self.hang_up();
                    return;
                }
                Err(RecvTimeoutError::Timeout) => {
                    if let Err(error) = self.step() {
                        tracing::error!(%error, "the chain of the stand-in node ends here");
                        self.is_complete = true;
                    }
                    // What took too long is not made up for in a rush.
                    due = due
                        .zip(self.interval())
                        .map(|(due, every)| (due + every).max(Instant::now()));
                }
            }
        }
    }

    fn advance(&mut self, steps: u64) -> Result<Progress, DevnetError> {
        let mut left = steps;
        while left > 0 && !self.is_complete {
            self.step()?;
            left -= 1;
        }
        Ok(self.shared.read(Progress::of))
    }

    fn interval(&self) -> Option<Duration> {
        match self.pace {
            Pace::Every(interval) => Some(interval),
            Pace::AllAtOnce | Pace::OnRequest => None,
        }
    }

    /// One block more, or a whole re-order.
    fn step(&mut self) -> Result<(), DevnetError> {
        let mut chain = self.shared.chain.write().unwrap_or_else(PoisonError::into_inner);
        let reorders = || self.shared.strikes(Fault::Reorder);
        let Some(changes) = self.feed.advance(&mut chain, reorders)? else {
            self.is_complete = true;
            return Ok(());
        };
        let events = self.shared.faults.with_random(|random| events_of(&chain, &changes, random));
        drop(chain);
        let events = self.as_told(events);
        // Nobody may have subscribed.
        let _unheard = self.shared.events.send(Arc::new(events));
        Ok(())
    }

    /// The events with everything that goes wrong with them.
    fn as_told(&mut self, events: Vec<Event>) -> Vec<Event> {
        let mut told = std::mem::take(&mut self.delayed);
        for event in events {
            if self.shared.strikes(Fault::LoseEvent) {
                continue;
            }
            if self.shared.strikes(Fault::DelayEvent) {
                self.delayed.push(event);
                continue;
            }
            if self.shared.strikes(Fault::RepeatEvent) {
                told.push(event.clone());
            }
            told.push(event);
        }
        if self.shared.strikes(Fault::ShuffleEvents) {
            self.shared.faults.with_random(|random| told.shuffle(random));
        }
        told
    }

    fn restart(&mut self, pause: Duration) -> Result<(), DevnetError> {
        self.hang_up();
        std::thread::sleep(pause);
        self.shared.is_leaving.store(false, Ordering::Relaxed);
        let listener: TcpListener = listen(self.address)?;
        self.runtime = Some(serve(&self.shared, listener)?);
        Ok(())
    }

    /// Ends the listener and every connection.
    fn hang_up(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_timeout(Duration::from_secs(1));
        }
    }
}

/// How many bursts a slow subscriber may be behind before it misses some.
const BURSTS_MAX: usize = 1024;
