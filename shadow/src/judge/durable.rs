//! Making verdicts durable, behind the back of whoever gives them.
//!
//! A flush waits for the disk, and so does removing a file of the log: for as long as some dozens of blocks take
//! to be judged. The judge hands over what it has written since the last time and goes on; here it is made
//! durable, only then counted, and then the store is kept small.

use std::{
    sync::{
        Arc,
        mpsc::{self, Receiver, Sender, SyncSender, TrySendError},
    },
    thread::{self, JoinHandle},
};

use storage_snapshot::{Store, StoreError, TopoHeight};

use super::{JudgeError, Progress, pending::Pending};

/// The thread that does it.
#[derive(Debug)]
pub(super) struct Durable {
    /// Nobody is at the other end while it is busy.
    batches: Option<SyncSender<Batch>>,
    thread: Option<JoinHandle<Result<(), JudgeError>>>,
}

/// Verdicts that are written.
struct Batch {
    pending: Pending,
    /// Told when it is done.
    done: Option<Sender<()>>,
}

impl Durable {
    /// Flushes a store, and keeps so many blocks of it below the last judged one.
    ///
    /// # Errors
    ///
    /// When the operating system refuses a thread.
    pub(super) fn start(
        store: Store,
        progress: Arc<Progress>,
        keep_blocks: u64,
    ) -> std::io::Result<Self> {
        Self::doing(move |pending| {
            if pending.is_empty() {
                return Ok(());
            }
            store.flush().map_err(JudgeError::Store)?;
            pending.count_into(&progress);
            if let Some(metrics) = &progress.metrics {
                metrics.changed(pending.changes);
            }
            let fold = |last| fold_below(&store, last, keep_blocks).map_err(JudgeError::Store);
            pending.last.map_or(Ok(()), fold)
        })
    }

    fn doing(
        make_durable: impl FnMut(Pending) -> Result<(), JudgeError> + Send + 'static,
    ) -> std::io::Result<Self> {
        // Without a place in between: a batch that is not taken yet goes on growing.
        let (batches, taken) = mpsc::sync_channel(0);
        let thread = thread::Builder::new()
            .name("shadow-durable".to_owned())
            .spawn(move || run(&taken, make_durable))?;
        Ok(Self { batches: Some(batches), thread: Some(thread) })
    }

    /// Hands over what is written, and tells whether it did: while the batch before is being made durable it stays
    /// where it is, unless it `is_full`. Then this waits.
    ///
    /// # Errors
    ///
    /// What an earlier batch failed with.
    pub(super) fn hand_over(
        &mut self,
        pending: &mut Pending,
        is_full: bool,
    ) -> Result<bool, JudgeError> {
        let batch = Batch { pending: std::mem::take(pending), done: None };
        if is_full {
            return self.send(batch).map(|()| true);
        }
        let Some(batches) = &self.batches else { return Err(JudgeError::Ended) };
        match batches.try_send(batch) {
            Ok(()) => Ok(true),
            Err(TrySendError::Full(batch)) => {
                *pending = batch.pending;
                Ok(false)
            }
            Err(TrySendError::Disconnected(_)) => self.end().and(Err(JudgeError::Ended)),
        }
    }

    /// Hands over what is written, and has `done` told when that and all before is durable, and nothing is being
    /// folded any more.
    ///
    /// # Errors
    ///
    /// What an earlier batch failed with.
    pub(super) fn settle(
        &mut self,
        pending: &mut Pending,
        done: Sender<()>,
    ) -> Result<(), JudgeError> {
        self.send(Batch { pending: std::mem::take(pending), done: Some(done) })
    }

    /// Waits until all that was handed over is durable, and ends the thread.
    ///
    /// # Errors
    ///
    /// What it failed with.
    pub(super) fn finish(&mut self, pending: &mut Pending) -> Result<(), JudgeError> {
        self.send(Batch { pending: std::mem::take(pending), done: None })?;
        self.end()
    }

    /// Whether it failed, for somebody who has nothing to hand over.
    ///
    /// # Errors
    ///
    /// What it failed with.
    pub(super) fn check(&mut self) -> Result<(), JudgeError> {
        match self.thread.as_ref().is_none_or(JoinHandle::is_finished) {
            true => self.end(),
            false => Ok(()),
        }
    }

    /// What it failed with, unless somebody was told already. It is ended by that.
    pub(super) fn failure(&mut self) -> Option<JudgeError> {
        self.thread.as_ref()?;
        self.end().err()
    }

    fn send(&mut self, batch: Batch) -> Result<(), JudgeError> {
        let sent = self.batches.as_ref().is_some_and(|batches| batches.send(batch).is_ok());
        if sent { Ok(()) } else { self.end().and(Err(JudgeError::Ended)) }
    }

    fn end(&mut self) -> Result<(), JudgeError> {
        self.batches = None;
        let Some(thread) = self.thread.take() else { return Err(JudgeError::Ended) };
        thread.join().unwrap_or(Err(JudgeError::Panicked))
    }
}

impl Drop for Durable {
    /// It holds the store, which somebody may want to open again at once.
    fn drop(&mut self) {
        if self.thread.is_some() {
            // Who drops it has failed with something else.
            let _ended = self.end();
        }
    }
}

fn run(
    batches: &Receiver<Batch>,
    mut make_durable: impl FnMut(Pending) -> Result<(), JudgeError>,
) -> Result<(), JudgeError> {
    while let Ok(Batch { pending, done }) = batches.recv() {
        make_durable(pending)?;
        if let Some(done) = done {
            // Whoever asked may have gone.
            let _ = done.send(());
        }
    }
    Ok(())
}

/// Lets the store fold away what no re-order can reach any more, so many blocks below the last one, and then
/// drop it from the log: verdicts and digests are in the ledger, and what a later block asks of earlier ones the
/// store keeps by itself. Otherwise the directory would grow by every block for as long as this runs.
pub(crate) fn fold_below(store: &Store, last: TopoHeight, kept: u64) -> Result<(), StoreError> {
    let Some(target) = last.checked_sub(kept) else { return Ok(()) };
    let behind = store.view_tip().map_or(target.as_u64(), |view| target.blocks_since(view));
    if is_worth_folding(behind, store.writes_to_fold(target), kept) {
        let view = store.advance_view(target)?;
        store.prune_log(view.unwrap_or(target))?;
    }
    Ok(())
}

/// Folding few at a time costs more than it frees: an account that many blocks write is written to disk once. Large
/// blocks are not waited for as long as small ones, for what they wrote is in memory until then.
fn is_worth_folding(blocks: u64, writes: usize, kept: u64) -> bool {
    blocks >= FOLDED_BLOCKS_MIN.min(kept) || (blocks > 0 && writes >= FOLDED_WRITES_MIN)
}

const FOLDED_BLOCKS_MIN: u64 = 256;

/// Some twenty megabytes.
const FOLDED_WRITES_MIN: usize = 1 << 17;

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::Ordering,
        time::{Duration, Instant},
    };

    use storage_snapshot::{
        Address, BlockCommit, BlockFacts, BlockHash, BlockRef, StateKey, StateValue, StoreOptions,
    };

    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    fn up_to(last: u64) -> Pending {
        let mut pending = Pending::default();
        pending.last = Some(TopoHeight::new(last));
        pending
    }

    /// Takes one batch after another when it is let, and tells which it took.
    fn stepped() -> (Durable, Sender<()>, Receiver<TopoHeight>) {
        let (go, steps) = mpsc::channel();
        let (tell, told) = mpsc::channel();
        let durable = Durable::doing(move |pending| {
            let _ = tell.send(pending.last.unwrap());
            let _ends_with_the_test = steps.recv();
            Ok(())
        });
        (durable.unwrap(), go, told)
    }

    /// Nobody is there to take a batch before the thread waits for one.
    #[track_caller]
    fn hand_over_soon(durable: &mut Durable, last: u64) {
        let started = Instant::now();
        let mut pending = up_to(last);
        while pending.last.is_some() {
            durable.hand_over(&mut pending, false).unwrap();
            assert!(started.elapsed() < LONG, "nobody takes it");
        }
    }

    #[test]
    fn what_is_gathered_while_it_is_busy_stays_unless_it_is_full() {
        let (mut durable, go, told) = stepped();
        hand_over_soon(&mut durable, 1);
        assert_eq!(told.recv_timeout(LONG), Ok(TopoHeight::new(1)));
        let mut pending = up_to(2);
        assert!(!durable.hand_over(&mut pending, false).unwrap(), "it is busy with the first");
        assert_eq!(pending.last, Some(TopoHeight::new(2)));
        // Two steps: for the first, and for the one that has to wait.
        go.send(()).unwrap();
        go.send(()).unwrap();
        assert!(durable.hand_over(&mut pending, true).unwrap());
        assert_eq!(pending.last, None);
        assert_eq!(told.recv_timeout(LONG), Ok(TopoHeight::new(2)));
        go.send(()).unwrap();
        durable.finish(&mut up_to(3)).unwrap();
        assert_eq!(told.recv_timeout(LONG), Ok(TopoHeight::new(3)));
    }

    #[test]
    fn all_is_durable_when_it_is_finished_and_when_it_has_settled() {
        let (mut durable, go, told) = stepped();
        (0..3).for_each(|_| go.send(()).unwrap());
        hand_over_soon(&mut durable, 1);
        let (done, settled) = mpsc::channel();
        durable.settle(&mut up_to(2), done).unwrap();
        settled.recv_timeout(LONG).unwrap();
        assert!(told.try_iter().eq([1, 2].map(TopoHeight::new)));
        durable.finish(&mut up_to(3)).unwrap();
        assert!(told.try_iter().eq([TopoHeight::new(3)]));
    }

    #[test]
    fn whoever_comes_after_a_failure_is_told_of_it_once() {
        #[track_caller]
        fn check(come: impl Fn(&mut Durable) -> Result<(), JudgeError>) {
            let failing = Durable::doing(|_| Err(JudgeError::Store(StoreError::Broken)));
            let mut durable = failing.unwrap();
            hand_over_soon(&mut durable, 1);
            while !durable.thread.as_ref().unwrap().is_finished() {
                thread::yield_now();
            }
            let told = come(&mut durable);
            assert!(matches!(told, Err(JudgeError::Store(StoreError::Broken))), "{told:?}");
            let again = come(&mut durable);
            assert!(matches!(again, Err(JudgeError::Ended)), "{again:?}");
        }
        check(Durable::check);
        check(|durable| durable.hand_over(&mut up_to(2), false).map(drop));
        check(|durable| durable.hand_over(&mut up_to(2), true).map(drop));
        check(|durable| durable.settle(&mut up_to(2), mpsc::channel().0));
    }

    #[test]
    fn a_failure_at_the_very_end_is_told() {
        let failing = Durable::doing(|_| Err(JudgeError::Store(StoreError::Broken)));
        let told = failing.unwrap().finish(&mut up_to(1));
        assert!(matches!(told, Err(JudgeError::Store(StoreError::Broken))), "{told:?}");
    }

    #[test]
    fn what_it_failed_with_is_told_once_to_whoever_looks_for_it() {
        let mut durable = Durable::doing(|_| Err(JudgeError::Store(StoreError::Broken))).unwrap();
        hand_over_soon(&mut durable, 1);
        let told = durable.failure();
        assert!(matches!(told, Some(JudgeError::Store(StoreError::Broken))), "{told:?}");
        assert!(durable.failure().is_none());
        assert!(Durable::doing(|_| Ok(())).unwrap().failure().is_none());
    }

    #[test]
    fn what_was_found_about_an_earlier_block_is_counted_without_another_block() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path(), StoreOptions::default()).unwrap();
        let progress = Arc::<Progress>::default();
        let mut durable = Durable::start(store, Arc::clone(&progress), 1).unwrap();
        let mut pending = Pending::default();
        pending.add_mismatches(3);
        let (done, settled) = mpsc::channel();
        durable.settle(&mut pending, done).unwrap();
        settled.recv_timeout(LONG).unwrap();
        assert_eq!(progress.mismatches.load(Ordering::Relaxed), 3);
        assert!(pending.is_empty());
        pending.add_mismatches(4);
        durable.finish(&mut pending).unwrap();
        assert_eq!(progress.mismatches.load(Ordering::Relaxed), 7);
        assert_eq!(progress.positions.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn many_blocks_are_worth_folding_and_few_with_many_writes() {
        #[track_caller]
        fn check(blocks: u64, writes: usize, kept: u64, expected: bool) {
            assert_eq!(is_worth_folding(blocks, writes, kept), expected);
        }
        check(FOLDED_BLOCKS_MIN, 0, 1000, true);
        check(FOLDED_BLOCKS_MIN - 1, FOLDED_WRITES_MIN - 1, 1000, false);
        check(1, FOLDED_WRITES_MIN, 1000, true);
        check(0, FOLDED_WRITES_MIN, 1000, false);
        // Whoever keeps few blocks does not want many more in memory.
        check(9, 0, 10, false);
        check(10, 0, 10, true);
    }

    #[test]
    fn one_large_block_is_folded_before_many_have_come() {
        #[track_caller]
        fn check(writes: usize, view: Option<u64>) {
            let directory = tempfile::tempdir().unwrap();
            let store = Store::open(directory.path(), StoreOptions::default()).unwrap();
            for topoheight in 0..=11 {
                let count = if topoheight == 1 { writes } else { 1 };
                let accounts = (0..count as u64).map(|number| {
                    let mut name = [topoheight as u8; 32];
                    name[..8].copy_from_slice(&number.to_be_bytes());
                    (StateKey::Registered(Address::new(name)), Some(StateValue::Registered))
                });
                let hash = BlockHash::new([topoheight as u8; 32]);
                let block = BlockRef { topoheight: TopoHeight::new(topoheight), hash };
                let commit = BlockCommit::new(block, BlockFacts::default(), accounts.collect());
                store.commit(commit).unwrap();
            }
            fold_below(&store, TopoHeight::new(11), 10).unwrap();
            assert_eq!(store.view_tip(), view.map(TopoHeight::new));
        }
        check(FOLDED_WRITES_MIN, Some(1));
        check(5, None);
    }

    #[test]
    fn as_long_as_nothing_failed_there_is_nothing_to_tell() {
        let mut durable = Durable::doing(|_| Ok(())).unwrap();
        durable.check().unwrap();
        hand_over_soon(&mut durable, 1);
        durable.check().unwrap();
    }

    #[test]
    fn a_store_is_let_go_of_when_it_is_dropped() {
        let held = Arc::new(());
        let also = Arc::clone(&held);
        let mut durable = Durable::doing(move |_| {
            let _held = &also;
            Ok(())
        })
        .unwrap();
        hand_over_soon(&mut durable, 1);
        drop(durable);
        assert_eq!(Arc::strong_count(&held), 1);
    }
}
