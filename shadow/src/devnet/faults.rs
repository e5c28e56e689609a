//! What a stand-in node does wrong on request: as a network, a machine or a busy node would.

use std::{
    fmt,
    str::FromStr,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::counters::Counters;

/// One thing that goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fault {
    /// An answer takes up to half a second more. Drawn per message.
    Slow,
    /// A connection ends instead of an answer. Drawn per message.
    Drop,
    /// A connection ends in the middle of an answer. Drawn per message; on a WebSocket, which knows
    /// where a message ends, as [`Drop`](Self::Drop).
    Half,
    /// HTTP status 500 instead of an answer. Drawn per HTTP request.
    Http500,
    /// A JSON-RPC error instead of a result. Drawn per question.
    Error,
    /// One hash in a block has a wrong digit. Drawn per answer with blocks.
    WrongHash,
    /// An event never comes. Drawn per event.
    LoseEvent,
    /// An event comes twice. Drawn per event.
    RepeatEvent,
    /// An event comes with those of the next block. Drawn per event.
    DelayEvent,
    /// The events of a block come in any order. Drawn per block.
    ShuffleEvents,
    /// The next 1 to 60 blocks are first others, which are ordered away once they are all there.
    /// Drawn per block.
    Reorder,
    /// Every connection ends, and for up to half a second nobody listens. Drawn per message.
    Restart,
}

impl Fault {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::Slow,
        Self::Drop,
        Self::Half,
        Self::Http500,
        Self::Error,
        Self::WrongHash,
        Self::LoseEvent,
        Self::RepeatEvent,
        Self::DelayEvent,
        Self::ShuffleEvents,
        Self::Reorder,
        Self::Restart,
    ];

    /// The word for it on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Slow => "slow",
            Self::Drop => "drop",
            Self::Half => "half",
            Self::Http500 => "http-500",
            Self::Error => "error",
            Self::WrongHash => "wrong-hash",
            Self::LoseEvent => "lose-event",
            Self::RepeatEvent => "repeat-event",
            Self::DelayEvent => "delay-event",
            Self::ShuffleEvents => "shuffle-events",
            Self::Reorder => "reorder",
            Self::Restart => "restart",
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// How often each fault is played, from 0, never, to 1, whenever it can be.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FaultRates([f64; Fault::ALL.len()]);

impl FaultRates {
    /// The same rates but for one.
    #[must_use]
    pub fn with(mut self, fault: Fault, rate: f64) -> Self {
        self.0[fault as usize] = rate.clamp(0.0, 1.0);
        self
    }

    /// How often a fault is played.
    pub const fn of(&self, fault: Fault) -> f64 {
        self.0[fault as usize]
    }
}

impl FromStr for FaultRates {
    type Err = String;

    /// Reads `slow=0.1,drop=0.02`; `all=0.01` stands for every fault that is not named after it.
    fn from_str(spec: &str) -> Result<Self, String> {
        let mut rates = Self::default();
        for part in spec.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let Some((name, rate)) = part.split_once('=') else {
                return Err(format!("{part}: expected a fault and its rate, such as slow=0.1"));
            };
            let rate = match rate.trim().parse::<f64>() {
                Ok(rate) if (0.0..=1.0).contains(&rate) => rate,
                _ => return Err(format!("{part}: a rate is a number from 0 to 1")),
            };
            let name = name.trim();
            let named = |fault: &Fault| name == "all" || fault.name() == name;
            if !Fault::ALL.iter().any(named) {
                let names = Fault::ALL.map(Fault::name).join(", ");
                return Err(format!("there is no fault {name}; there are {names}, and all"));
            }
            for fault in Fault::ALL.into_iter().filter(named) {
                rates = rates.with(fault, rate);
            }
        }
        Ok(rates)
    }
}

/// Draws faults, and counts those that are played.
#[derive(Debug)]
pub(super) struct Faults {
    rates: FaultRates,
    random: Mutex<ChaCha8Rng>,
}

impl Faults {
    pub(super) fn new(rates: FaultRates, seed: u64) -> Self {
        Self { rates, random: Mutex::new(ChaCha8Rng::seed_from_u64(seed)) }
    }

    /// Whether a fault is played this time.
    pub(super) fn strikes(&self, fault: Fault, counters: &Counters) -> bool {
        let rate = self.rates.of(fault);
        let strikes = rate > 0.0 && self.with_random(|random| random.random_bool(rate));
        if strikes {
            counters.fault(fault.name());
        }
        strikes
    }

    /// A pause of at most half a second.
    pub(super) fn pause(&self) -> Duration {
        Duration::from_millis(self.with_random(|random| random.random_range(0..=PAUSE_MS_MAX)))
    }

    pub(super) fn with_random<R>(&self, draw: impl FnOnce(&mut ChaCha8Rng) -> R) -> R {
        // Nothing panics while it is locked.
        draw(&mut self.random.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Alters a digit of one of the hashes in a text, if there is one.
    pub(super) fn spoil_hash(&self, text: String) -> String {
        let mut bytes = text.into_bytes();
        let hashes: Vec<usize> = hashes_in(&bytes).collect();
        if !hashes.is_empty() {
            let (which, digit) = self.with_random(|random| {
                (random.random_range(0..hashes.len()), random.random_range(0..HASH_DIGITS))
            });
            let digit = &mut bytes[hashes[which] + digit];
            *digit = if *digit == b'0' { b'1' } else { b'0' };
        }
        // One ASCII digit took the place of another.
        String::from_utf8(bytes).unwrap_or_default()
    }
}

/// Where the 64 digits between two quotation marks begin.
fn hashes_in(text: &[u8]) -> impl Iterator<Item = usize> + '_ {
    text.windows(HASH_DIGITS + 2).enumerate().filter_map(|(at, window)| {
        let is_quoted = window[0] == b'"' && window[HASH_DIGITS + 1] == b'"';
        let is_hex = || window[1..=HASH_DIGITS].iter().all(u8::is_ascii_hexdigit);
        (is_quoted && is_hex()).then_some(at + 1)
    })
}

const HASH_DIGITS: usize = 64;
const PAUSE_MS_MAX: u64 = 500;
