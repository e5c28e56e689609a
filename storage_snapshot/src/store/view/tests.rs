//! The view alone, on its database and in its directory.

use std::collections::BTreeMap;

use proptest::{collection::vec, prelude::*};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::store::{
    power::Platter,
    witness::{Change, watch},
};
use crate::{BlockFacts, BlockHash, BlockRef, Nonce, StateDigest, StateValue};

struct Subject {
    view: View,
    disk: Arc<Disk>,
    directory: tempfile::TempDir,
}

fn open(directory: &Path) -> Result<(View, Arc<Disk>), StoreError> {
    let health = Arc::<Health>::default();
    let disk = Disk::open(directory.join("state"), 1 << 20, None, Arc::clone(&health))?;
    View::make(&directory.join("view"))?;
    let tree = disk.tree(TreeName::View)?;
    // A cache that has room for a few records only.
    let view = View::open(&disk, tree, directory.join("view"), 1 << 10, health)?;
    Ok((view, disk))
}

impl Subject {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let (view, disk) = open(directory.path()).unwrap();
        Self { view, disk, directory }
    }

    fn again(self) -> Self {
        let Self { view, disk, directory } = self;
        drop((view, disk));
        let (view, disk) = open(directory.path()).unwrap();
        Self { view, disk, directory }
    }

    /// The numbers of the files that there are.
    fn files(&self) -> Vec<u64> {
        let files = fs::read_dir(self.directory.path().join("view")).unwrap();
        let mut numbers: Vec<_> =
            files.map(|file| parse_name(&file.unwrap().path()).unwrap()).collect();
        numbers.sort_unstable();
        numbers
    }
}

fn account(number: u16) -> Address {
    let mut bytes = [7; 32];
    bytes[..2].copy_from_slice(&number.to_be_bytes());
    Address::new(bytes)
}

fn tip(number: u64) -> Tip {
    let topoheight = TopoHeight::new(number);
    Tip {
        block: BlockRef { topoheight, hash: BlockHash::new([number as u8; 32]) },
        facts: BlockFacts::default(),
        digest: StateDigest::EMPTY,
    }
}

fn wrote(of: u16, number: u64) -> (StateKey, Stamped) {
    let version = Version::Known(Some(StateValue::Nonce(Nonce::new(number))));
    let written_at = Some(TopoHeight::new(number));
    (StateKey::Nonce(account(of)), Stamped { written_at, version })
}

#[test]
fn a_record_that_was_loaded_before_a_rewrite_is_not_cached_after_it() {
    let Subject { view, .. } = &Subject::new();
    let of = account(1);
    let (rewrites, runs) = {
        let shown = view.shown.read();
        (shown.rewrites, Arc::clone(&shown.runs))
    };
    let old = load(&runs, &of).unwrap();
    let (key, stamped) = wrote(1, 3);
    view.fold([(key, stamped.clone())], tip(3)).unwrap();
    view.admit(&of, old.get(), rewrites);
    assert_eq!(view.read(&key, Some(TopoHeight::new(3))).unwrap(), Some(stamped));
}

#[test]
fn a_record_that_is_later_than_its_reader_is_damage() {
    let Subject { view, .. } = &Subject::new();
    view.fold([wrote(1, 5)], tip(4)).unwrap();
    let (key, _) = wrote(1, 5);
    let read = view.read(&key, Some(TopoHeight::new(4)));
    assert!(
        matches!(read, Err(StoreError::Corrupt { problem: Corruption::Future, .. })),
        "{read:?}"
    );
}

#[test]
fn what_was_learned_is_read_before_it_is_in_a_file_and_after() {
    let subject = Subject::new();
    let base: StateDelta = [(StateKey::Nonce(account(9)), Some(StateValue::Nonce(Nonce::new(4))))]
        .into_iter()
        .collect();
    subject.view.fold([wrote(1, 1)], tip(1)).unwrap();
    subject.view.learn(subject.view.news(&base).unwrap());
    let check = |subject: &Subject| {
        // Something else takes its place in the cache.
        (100..200).for_each(|of| subject.view.prefetch(&account(of)).unwrap());
        let read = subject.view.read(&StateKey::Nonce(account(9)), None).unwrap();
        let version = Version::Known(Some(StateValue::Nonce(Nonce::new(4))));
        assert_eq!(read, Some(Stamped { written_at: None, version }));
    };
    check(&subject);
    assert!(subject.view.news(&base).unwrap().is_none(), "it is known");
    assert_eq!(subject.files(), [0]);
    subject.view.fold([wrote(2, 2)], tip(2)).unwrap();
    check(&subject);
    assert!(subject.view.shown.read().learned.is_empty());
    check(&subject.again());

    let subject = Subject::new();
    subject.view.learn(subject.view.news(&base).unwrap());
    subject.view.settle().unwrap();
    check(&subject.again());
}

#[test]
fn files_that_are_replaced_are_removed_and_there_are_few() {
    let mut subject = Subject::new();
    for number in 0..200_u16 {
        let of = (number % 40) * 3;
        subject.view.fold((of..of + 3).map(|of| wrote(of, 1)), tip(1)).unwrap();
        let runs = subject.view.shown.read().runs.len();
        assert!(runs <= 5, "{runs} files");
        assert!(subject.files().len() < runs + RETIRED_MAX, "{:?}", subject.files());
    }
    subject = subject.again();
    let mut named: Vec<_> =
        subject.view.kept.lock().state.runs.iter().map(|run| run.number).collect();
    named.sort_unstable();
    assert_eq!(subject.files(), named);
}

#[test]
fn a_file_that_nothing_names_is_cleared_away() {
    let subject = Subject::new();
    subject.view.fold([wrote(1, 1)], tip(1)).unwrap();
    let view = subject.directory.path().join("view");
    fs::write(view.join("00000000000000000007.run"), b"left").unwrap();
    fs::write(view.join("00000000000000000001.new"), b"left").unwrap();
    assert_eq!(subject.again().files(), [0]);
}

#[test]
fn what_is_not_the_file_that_was_written_is_refused() {
    #[track_caller]
    fn check(damage: impl Fn(&Path), expected: Corruption) {
        let subject = Subject::new();
        subject.view.fold((0..400).map(|of| wrote(of, 1)), tip(1)).unwrap();
        let Subject { view, disk, directory } = subject;
        drop((view, disk));
        damage(&directory.path().join("view"));
        match open(directory.path()).map(drop) {
            Err(StoreError::Corrupt { tree: TreeName::View, problem, .. }) => {
                assert_eq!(problem, expected);
            }
            other => panic!("{other:?}"),
        }
    }
    const NAME: &str = "00000000000000000000.run";
    fn changed(change: impl Fn(&mut Vec<u8>)) -> impl Fn(&Path) {
        move |view| {
            let mut bytes = fs::read(view.join(NAME)).unwrap();
            change(&mut bytes);
            fs::write(view.join(NAME), bytes).unwrap();
        }
    }
    check(|view| fs::remove_file(view.join(NAME)).unwrap(), Corruption::Parts);
    check(changed(|bytes| bytes.truncate(20)), Corruption::Parts);
    check(changed(|bytes| bytes.push(0)), Corruption::Parts);
    // The index, the filter, and each part of the foot.
    for from_end in [1, 9, 20, 30, 36, 44, 50, 60, 100, 400] {
        let flip = changed(move |bytes| {
            let at = bytes.len() - from_end;
            bytes[at] ^= 1;
        });
        let subject = Subject::new();
        subject.view.fold((0..400).map(|of| wrote(of, 1)), tip(1)).unwrap();
        let Subject { view, disk, directory } = subject;
        drop((view, disk));
        flip(&directory.path().join("view"));
        let refused = open(directory.path()).map(drop);
        assert!(matches!(refused, Err(StoreError::Corrupt { .. })), "{from_end}: {refused:?}");
    }
    // A whole file of the same number, from elsewhere.
    let other = Subject::new();
    other.view.fold((0..400).map(|of| wrote(of, 2)), tip(2)).unwrap();
    let other = other.directory.path().join("view").join(NAME);
    let copied = |view: &Path| {
        fs::copy(&other, view.join(NAME)).unwrap();
    };
    check(copied, Corruption::Checksum);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn it_has_what_was_written_last(
        folds in vec((vec((0..300_u16, 0..9_u8), 0..120), any::<bool>()), 1..14),
    ) {
        let mut subject = Subject::new();
        let mut model = BTreeMap::new();
        for (number, (writes, reopens)) in (1..).zip(folds) {
            let writes: BTreeMap<_, _> = writes.into_iter().map(|(of, _)| (of, wrote(of, number))).collect();
            subject.view.fold(writes.values().cloned(), tip(number)).unwrap();
            model.extend(writes);
            if reopens {
                subject = subject.again();
            }
            prop_assert_eq!(subject.view.tip(), Some(tip(number)));
            for of in 0..300 {
                let read = subject.view.read(&StateKey::Nonce(account(of)), Some(TopoHeight::MAX));
                let expected = model.get(&of).map(|(_, stamped): &(_, Stamped)| stamped.clone());
                prop_assert_eq!(read.unwrap(), expected);
            }
        }
    }

    #[test]
    fn whatever_state_a_loss_of_power_leaves_its_files_are_whole(
        folds in vec(vec(0..60_u16, 1..40), 1..16),
        seed in any::<u64>(),
    ) {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let subject = Subject::new();
        let mut platter = Platter::of(&subject.directory.path().join("view"));
        let mut states = vec![ViewState::default()];
        let ((), changes) = watch(|| {
            for (number, accounts) in (1..).zip(folds) {
                let accounts = std::collections::BTreeSet::from_iter(accounts);
                let writes = accounts.into_iter().map(|of| wrote(of, number));
                subject.view.fold(writes, tip(number)).unwrap();
                states.push(subject.view.kept.lock().state.clone());
            }
        });
        // Of the states the database comes back with one that was written since it was last synced, or
        // with the last one before.
        let mut possible = 0..1;
        for change in &changes {
            match change {
                Change::DatabaseWrote(_) => possible.end += 1,
                Change::DatabaseSynced => possible.start = possible.end - 1,
                Change::DatabaseFlushed => {}
                change => platter.take(change),
            }
            if random.random_bool(0.8) {
                continue;
            }
            let left = tempfile::tempdir().unwrap();
            platter.lose_power(left.path(), [0.0, 0.5, 1.0][random.random_range(0..3)], &mut random);
            for run in states[possible.clone()].iter().flat_map(|state| &state.runs) {
                let run = Run::open(left.path(), *run);
                let run = run.map_err(|error| TestCaseError::fail(format!("{error:?}")))?;
                let mut entries = Entries::of(&run).unwrap();
                while entries.account().is_some() {
                    entries.advance().unwrap();
                }
            }
        }
    }
}
