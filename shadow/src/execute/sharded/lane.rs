//! One lane's way through a block.

use std::{
    ops::Range,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use comparator::{FailReason, Outcome, SkipReason, Status};
use rand::{SeedableRng, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;
use storage_snapshot::{Amount, AssetId};

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
    rules::{Effect, Walk, for_each_effect},
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

/// What a lane that came to the end of the block left.
#[derive(Debug, Default)]
pub(super) struct Left {
    credits: Credits,
    /// Of all transactions that it executed.
    fees: Amount,
}

/// Credits of accounts of one range, in the order in which they were made.
#[derive(Debug, Default)]
struct Credits {
    /// In the native asset, which nearly all of them are.
    native: Vec<(u32, Amount)>,
    others: Vec<(u32, AssetId, Amount)>,
}

/// What came out of one range.
#[derive(Debug)]
pub(super) struct Part {
    /// Of the transactions whose sources are in it, in the block's order.
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

        let fees = lane.fees;
        let left = seat.exchange(|other| {
            first_half.ok()?;
            Some(Left { credits: std::mem::take(&mut lane.credits[other]), fees })
        });
        first_half?;
        let mut left = left.ok_or(Stop::OTHER_LANE)?;
        if self.seed != 0 {
            left.shuffle(&mut ChaCha8Rng::seed_from_u64(self.seed ^ number as u64));
        }
        for (_, left) in left {
            lane.take(left.ok_or(Stop::OTHER_LANE)?)?;
        }
        lane.finish()
    }
}

struct Lane<'a> {
    plan: &'a Plan,
    /// The places of its own accounts.
    range: Range<u32>,
    /// Finds the places of accounts.
    places: Walk<'a>,
    accounts: Accounts<'a>,
    /// What it has for others, by the numbers of their ranges.
    credits: Vec<Credits>,
    outcomes: Vec<Outcome>,
    executed: usize,
    fees: Amount,
    burned: Amount,
    requested: u64,
}

impl<'a> Lane<'a> {
    fn new(plan: &'a Plan, number: usize) -> Self {
        let range = plan.ranges.range(number);
        let lanes = plan.ranges.len();
        let expected = plan.block.transactions.len() / lanes;
        let mut credits = Vec::with_capacity(lanes);
        credits.resize_with(lanes, Credits::default);
        Self {
            plan,
            accounts: Accounts::new(&plan.world, range.clone()),
            range,
            places: plan.world.walk(),
            credits,
            outcomes: Vec::with_capacity(expected + expected / 8),
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
        for (number, source) in world.source_places().take(block.transactions.len()).enumerate() {
            if !self.range.contains(&source) {
                continue;
            }
            disturbance.pause_before(number);
            let transaction = &block.transactions[number];
            let execute = || self.execute(number, source, transaction);
            let status = match catch_unwind(AssertUnwindSafe(execute)) {
                Ok(status) => status?,
                // It is reported as itself and moves nobody else's outcome.
                Err(panic) => Status::Failed(FailReason::Other(panic_message(&*panic))),
            };
            let mut fee = Amount::ZERO;
            if status == Status::Executed {
                fee = transaction.body.fee;
                self.fees = self.fees.checked_add(fee).ok_or(Stop::TOTAL_OVERFLOW)?;
                self.executed += 1;
            }
            self.outcomes.push(Outcome { hash: transaction.body.hash, status, fee });
        }
        Ok(())
    }

    fn execute(
        &mut self,
        number: usize,
        place: u32,
        transaction: &ExecutableTransaction,
    ) -> Result<Status, Stop> {
        if transaction.already_executed {
            return Ok(Status::Skipped(SkipReason::AlreadyExecuted));
        }
        let body = &transaction.body;
        self.places.go_to(number);
        if self.places.place(&body.source) != Some(place as usize) {
            return Err(Stop::Elsewhere);
        }
        self.requested += 1;
        if !self.accounts.use_nonce(place, body.nonce)? {
            return Ok(Status::Skipped(SkipReason::Nonce));
        }
        for_each_effect(body, |effect| self.apply(effect))?;
        self.accounts.settle_nonce(place)?;
        Ok(Status::Executed)
    }

    fn apply(&mut self, effect: Effect<'_>) -> Result<(), Stop> {
        match effect {
            Effect::Nonce(account, nonce) => {
                let place = self.place(account)?;
                self.accounts.write_nonce(place, nonce)
            }
            Effect::Debit(account, asset, amount) => {
                self.requested += 1;
                let place = self.place(account)?;
                self.accounts.debit(place, asset, amount)
            }
            Effect::Credit(account, asset, amount) => {
                self.requested += 1;
                let place = self.place(account)?;
                self.credit(place, asset, amount)
            }
            Effect::Burn(amount) => {
                self.burned = self.burned.checked_add(amount).ok_or(Stop::TOTAL_OVERFLOW)?;
                Ok(())
            }
            Effect::Multisig(account, config) => {
                let place = self.place(account)?;
                self.accounts.write_multisig(place, config);
                Ok(())
            }
        }
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

    fn place(&mut self, account: &storage_snapshot::Address) -> Result<u32, Stop> {
        // Places are numbers of 32 bits where they are listed.
        self.places.place(account).map(|place| place as u32).ok_or(Stop::Elsewhere)
    }

    /// Takes what another lane left.
    fn take(&mut self, left: Left) -> Result<(), Stop> {
        for (place, amount) in left.credits.native {
            self.accounts.credit(place, AssetId::NATIVE, amount)?;
        }
        for (place, asset, amount) in left.credits.others {
            self.accounts.credit(place, asset, amount)?;
        }
        self.fees = self.fees.checked_add(left.fees).ok_or(Stop::TOTAL_OVERFLOW)?;
        Ok(())
    }

    /// What came out, once everything was taken.
    fn finish(mut self) -> Result<Part, Stop> {
        let block = &self.plan.block;
        let paid = [
            (&block.dev, block.reward.dev),
            (&block.miner, block.reward.miner),
            (&block.miner, self.fees),
        ];
        for (account, amount) in paid {
            let place = self.place(account)?;
            if self.range.contains(&place) {
                self.requested += 1;
                self.accounts.credit(place, AssetId::NATIVE, amount)?;
            }
        }
        Ok(Part {
            outcomes: self.outcomes,
            writes: self.accounts.into_writes()?,
            executed: self.executed,
            fees: self.fees,
            burned: self.burned,
            requested: self.requested,
        })
    }
}
