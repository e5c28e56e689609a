//! One lane's way through a block.

use std::{
    ops::Range,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use comparator::{FailReason, Outcome, SkipReason, Status};
use rand::{SeedableRng, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;
use smallvec::SmallVec;
use storage_snapshot::{Address, Amount, AssetId, Nonce};

use super::{
    Stop,
    accounts::{Accounts, Writes},
    ranges::Ranges,
};
use crate::{
    execute::{
        ExecutableBlock, ExecutableTransaction, PreState, panic_message,
        workers::{Disturbance, Seat},
    },
    rules::{Effect, for_each_effect},
};

/// What all lanes go by and none changes.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) block: Arc<ExecutableBlock>,
    /// The parent's state; it lists where the block names its accounts.
    pub(super) world: Arc<PreState>,
    pub(super) ranges: Ranges,
    pub(super) seed: u64,
}

/// What a lane has for the owner of another range; `None` if it had to stop.
pub(super) type Mail = Option<Left>;

/// What a lane that came to the end of the block left for another one.
#[derive(Debug, Default)]
pub(super) struct Left {
    credits: Credits,
    exceptions: Exceptions,
    /// Of all transactions that it executed.
    fees: Amount,
    /// How many transactions were its own.
    own: usize,
}

/// What became of transactions that were not executed, by their numbers.
type Exceptions = Vec<(usize, Status)>;

/// Credits of accounts of one range, in the order in which they were made.
#[derive(Debug, Default)]
struct Credits {
    /// In the native asset, which nearly all of them are.
    native: Vec<(u32, Amount)>,
    others: Vec<(u32, AssetId, Amount)>,
}

/// At how many transactions a lane looks before it executes the first of them: their bodies, and what they
/// name, stay in the innermost cache.
const LOOKED_AHEAD: usize = 16;

/// In the time that a worker needs to wake up so many outcomes are told.
const HEAD_START: usize = 2000;

/// What came out of one range.
#[derive(Debug)]
pub(super) struct Part {
    /// Of a part of the block, in order: the first range comes with the first part, and so on.
    pub(super) outcomes: Vec<Outcome>,
    pub(super) writes: Writes,
    /// How many of its transactions took effect.
    pub(super) executed: usize,
    /// The fees of the whole block.
    pub(super) fees: Amount,
    /// The native units that its transactions burned.
    pub(super) burned: Amount,
    /// How often state was asked for.
    pub(super) requested: u64,
}

impl Plan {
    /// Does the work of one range, in one go with those who do that of the others.
    pub(super) fn work(&self, number: usize, seat: Seat<Mail>) -> Result<Part, Stop> {
        let mut lane = Lane::new(self, number);
        let disturbance = Disturbance::new(self.seed);
        let first_half = lane.execute_all(disturbance);
        disturbance.pause_before(self.block.transactions.len() + number);

        let (fees, own) = (lane.fees, lane.own);
        let inbox = seat.leave(|other| {
            first_half.ok()?;
            let credits = std::mem::take(&mut lane.credits[other]);
            let exceptions = std::mem::take(&mut lane.exceptions[other]);
            Some(Left { credits, exceptions, fees, own })
        });
        first_half?;
        // Others may still be at work.
        let outcomes = self.all_executed(number);
        let mut left = inbox.take().ok_or(Stop::OTHER_LANE)?;
        if self.seed != 0 {
            left.shuffle(&mut ChaCha8Rng::seed_from_u64(self.seed ^ number as u64));
        }
        for (_, left) in left {
            lane.take(number, left.ok_or(Stop::OTHER_LANE)?)?;
        }
        lane.finish(number, outcomes)
    }

    /// How many transactions there are in each part of the block but the first one.
    ///
    /// The first lane has begun while the others woke up. It tells the outcomes of so many more meanwhile, which
    /// of a block of no more transactions are all.
    fn part_length(&self) -> usize {
        self.block.transactions.len().saturating_sub(HEAD_START) / self.ranges.len()
    }

    /// How many transactions there are in the first part.
    fn first_part_length(&self) -> usize {
        self.block.transactions.len() - (self.ranges.len() - 1) * self.part_length()
    }

    /// The numbers of the transactions of a part.
    fn part(&self, number: usize) -> Range<usize> {
        let Some(after_first) = number.checked_sub(1) else { return 0..self.first_part_length() };
        let first = self.first_part_length() + after_first * self.part_length();
        first..first + self.part_length()
    }

    /// The part in which a transaction is.
    fn part_of(&self, transaction: usize) -> usize {
        match transaction.checked_sub(self.first_part_length()) {
            Some(after_first) => 1 + after_first / self.part_length(),
            None => 0,
        }
    }

    /// What becomes of the transactions of a part if no exception is told: they are executed.
    fn all_executed(&self, number: usize) -> Vec<Outcome> {
        let transactions = &self.block.transactions;
        let part = self.part(number);
        // The others follow on the first.
        let capacity = if number == 0 { transactions.len() } else { part.len() };
        let mut outcomes = Vec::with_capacity(capacity);
        outcomes.extend(transactions[part].iter().map(|ExecutableTransaction { body, .. }| {
            Outcome { hash: body.hash, status: Status::Executed, fee: body.fee }
        }));
        outcomes
    }
}

struct Lane<'a> {
    plan: &'a Plan,
    /// The places of its own accounts.
    range: Range<u32>,
    accounts: Accounts<'a>,
    /// What it has for others, by the numbers of their ranges.
    credits: Vec<Credits>,
    /// What the others have to know of transactions in their parts of the block.
    exceptions: Vec<Exceptions>,
    /// How many transactions were its own.
    own: usize,
    executed: usize,
    fees: Amount,
    burned: Amount,
    requested: u64,
}

/// A transaction that a lane is about to execute.
#[derive(Clone, Copy)]
struct Upcoming<'a> {
    number: usize,
    transaction: &'a ExecutableTransaction,
    /// The places of the accounts that it names.
    mentions: &'a [u32],
    /// The nonce that its source had before the block, if that is known and was asked for.
    initial: Option<Option<Nonce>>,
}

impl<'a> Lane<'a> {
    fn new(plan: &'a Plan, number: usize) -> Self {
        let range = plan.ranges.range(number);
        let lanes = plan.ranges.len();
        let share = plan.block.transactions.len() / lanes;
        let mut credits = Vec::with_capacity(lanes);
        credits.resize_with(lanes, Credits::default);
        Self {
            plan,
            accounts: Accounts::new(&plan.world, range.clone(), share + share / 8),
            range,
            credits,
            exceptions: vec![Exceptions::new(); lanes],
            own: 0,
            executed: 0,
            fees: Amount::ZERO,
            burned: Amount::ZERO,
            requested: 0,
        }
    }

    /// Executes the transactions whose source is its own. Which these are it need not ask them: the world
    /// lists where the block names them, and each is looked at by the one lane that owns that place.
    fn execute_all(&mut self, disturbance: Disturbance) -> Result<(), Stop> {
        let Plan { block, world, .. } = self.plan;
        let range = self.range.clone();
        let listed = block.transactions.iter().zip(world.mentions()).enumerate();
        let mut own = listed.filter(|(_, (_, mentions))| {
            mentions.first().is_some_and(|source| range.contains(source))
        });
        let mut upcoming = SmallVec::<[_; LOOKED_AHEAD]>::new();
        loop {
            // What the next ones need is in no cache, and is not in each other's way: looked at one right
            // after another, it comes at the same time.
            upcoming.clear();
            for (number, (transaction, mentions)) in own.by_ref().take(LOOKED_AHEAD) {
                upcoming.push(self.look_at(number, transaction, mentions)?);
            }
            if upcoming.is_empty() {
                return Ok(());
            }
            for upcoming in &upcoming {
                disturbance.pause_before(upcoming.number);
                self.execute_caught(upcoming)?;
            }
        }
    }

    /// Holds a transaction against the places where the world says that its accounts are.
    fn look_at(
        &self,
        number: usize,
        transaction: &'a ExecutableTransaction,
        mentions: &'a [u32],
    ) -> Result<Upcoming<'a>, Stop> {
        let world = &self.plan.world;
        let accounts = world.accounts();
        let mut listed = mentions.iter().map(|place| &accounts[*place as usize]);
        let all_listed = transaction.body.accounts().all(|named| listed.next() == Some(named));
        if !all_listed || listed.next().is_some() {
            return Err(Stop::Elsewhere);
        }
        let source = mentions.first().copied().ok_or(Stop::Elsewhere)?;
        let is_new = self.accounts.is_new_source(source);
        let initial = is_new.then(|| world.nonce_at(source as usize).ok()).flatten();
        Ok(Upcoming { number, transaction, mentions, initial })
    }

    /// Executes a transaction and notes what became of it. One that panics is reported as itself and moves
    /// nobody else's outcome.
    fn execute_caught(&mut self, upcoming: &Upcoming<'_>) -> Result<(), Stop> {
        let body = &upcoming.transaction.body;
        let status = match catch_unwind(AssertUnwindSafe(|| self.execute(upcoming))) {
            Ok(status) => status?,
            Err(panic) => Status::Failed(FailReason::Other(panic_message(&*panic))),
        };
        self.own += 1;
        if status == Status::Executed {
            self.fees = self.fees.checked_add(body.fee).ok_or(Stop::TOTAL_OVERFLOW)?;
            self.executed += 1;
        } else {
            let part = self.plan.part_of(upcoming.number);
            self.exceptions[part].push((upcoming.number, status));
        }
        Ok(())
    }

    fn execute(&mut self, upcoming: &Upcoming<'_>) -> Result<Status, Stop> {
        let Upcoming { transaction, mentions, initial, .. } = *upcoming;
        if transaction.already_executed {
            return Ok(Status::Skipped(SkipReason::AlreadyExecuted));
        }
        let body = &transaction.body;
        let (&place, destinations) = mentions.split_first().ok_or(Stop::Elsewhere)?;
        self.requested += 1;
        if !self.accounts.use_nonce(place, body.nonce, initial)? {
            return Ok(Status::Skipped(SkipReason::Nonce));
        }
        // All but its credits a transaction does to its source, and credits come in the order in which it
        // names who is credited. That is how it is listed, and still held against each effect.
        let mut destinations = destinations.iter();
        let own = |account: &Address| match account == &body.source {
            true => Ok(place),
            false => Err(Stop::Elsewhere),
        };
        for_each_effect(body, |effect| match effect {
            Effect::Nonce(account, nonce) => self.accounts.write_nonce(own(account)?, nonce),
            Effect::Debit(account, asset, amount) => {
                self.requested += 1;
                self.accounts.debit(own(account)?, asset, amount)
            }
            Effect::Credit(account, asset, amount) => {
                self.requested += 1;
                let place = *destinations.next().ok_or(Stop::Elsewhere)?;
                if self.plan.world.accounts()[place as usize] != *account {
                    return Err(Stop::Elsewhere);
                }
                self.credit(place, asset, amount)
            }
            Effect::Burn(amount) => {
                self.burned = self.burned.checked_add(amount).ok_or(Stop::TOTAL_OVERFLOW)?;
                Ok(())
            }
            Effect::Multisig(account, config) => {
                self.accounts.write_multisig(own(account)?, config);
                Ok(())
            }
        })?;
        self.accounts.settle_nonce(place)?;
        Ok(Status::Executed)
    }

    /// Its own accounts are credited at once, those of others when they are ready for it.
    fn credit(&mut self, place: u32, asset: AssetId, amount: Amount) -> Result<(), Stop> {
        if self.range.contains(&place) {
            return self.accounts.credit(place, asset, amount);
        }
        let credits = &mut self.credits[self.plan.ranges.of(place)];
        if asset == AssetId::NATIVE {
            credits.native.push((place, amount));
        } else {
            credits.others.push((place, asset, amount));
        }
        Ok(())
    }

    /// Takes what another lane left.
    fn take(&mut self, number: usize, left: Left) -> Result<(), Stop> {
        for (place, amount) in left.credits.native {
            self.accounts.credit(place, AssetId::NATIVE, amount)?;
        }
        for (place, asset, amount) in left.credits.others {
            self.accounts.credit(place, asset, amount)?;
        }
        self.fees = self.fees.checked_add(left.fees).ok_or(Stop::TOTAL_OVERFLOW)?;
        self.own += left.own;
        self.exceptions[number].extend(left.exceptions);
        Ok(())
    }

    /// What came out, once everything was taken.
    fn finish(mut self, number: usize, mut outcomes: Vec<Outcome>) -> Result<Part, Stop> {
        let block = &self.plan.block;
        let paid = [
            (&block.dev, block.reward.dev),
            (&block.miner, block.reward.miner),
            (&block.miner, self.fees),
        ];
        for (account, amount) in paid {
            // Places are numbers of 32 bits where they are listed.
            let place = self.plan.world.place(account).ok_or(Stop::Elsewhere)? as u32;
            if self.range.contains(&place) {
                self.requested += 1;
                self.accounts.credit(place, AssetId::NATIVE, amount)?;
            }
        }
        // What is not among the exceptions was executed: by somebody, or nothing is said at all.
        if self.own != block.transactions.len() {
            return Err(Stop::Elsewhere);
        }
        let first = self.plan.part(number).start;
        for (exception, status) in std::mem::take(&mut self.exceptions[number]) {
            let hash = block.transactions[exception].body.hash;
            outcomes[exception - first] = Outcome { hash, status, fee: Amount::ZERO };
        }
        Ok(Part {
            outcomes,
            writes: self.accounts.into_writes()?,
            executed: self.executed,
            fees: self.fees,
            burned: self.burned,
            requested: self.requested,
        })
    }
}
