//! What generated chains hold, told from the blocks and from what the serial executor makes of them.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::LazyLock,
};

use comparator::{FailReason, SkipReason, Status};
use shadow::{
    chain::{BlockType, Transaction, TransactionData, Transfer},
    execute::parallel::ParallelExecutor,
    rules::{Quirk, base_reward},
    source::{BlockSource, GeneratedChain, GeneratedOptions, Profile},
};
use storage_snapshot::{Address, Amount, AssetId, MultisigConfig, StateKey, StateRead, StateValue};

use crate::walk::{Step, Walk, config, count, outputs, standing};

const BLOCKS: u64 = 200;

/// The first 200 blocks of a chain in which everything has to occur.
static EVERYTHING: LazyLock<Vec<Step>> =
    LazyLock::new(|| Walk::new(options(Profile::Everything, 60)).collect());

#[test]
fn the_same_accounts_are_paid_and_pay_again_and_again() {
    #[track_caller]
    fn check(steps: &[Step], least_percent: usize) {
        let sources: fn(&Transaction) -> Vec<Address> = |sent| vec![sent.source];
        let destinations: fn(&Transaction) -> Vec<Address> =
            |sent| outputs(sent).iter().map(|output| output.destination).collect();
        for named in [sources, destinations] {
            let mut counts: HashMap<Address, usize> = HashMap::new();
            for account in steps.iter().flat_map(Step::executed).flat_map(named) {
                *counts.entry(account).or_default() += 1;
            }
            let mut counts: Vec<_> = counts.into_values().collect();
            counts.sort_unstable_by(|one, other| other.cmp(one));
            let all = counts.iter().sum::<usize>();
            let first = counts.iter().take(8).sum::<usize>();
            assert!(first * 100 > all * least_percent, "{first} of {all}");
        }
    }
    // Were all equally popular, eight of them would have about four percent.
    check(&EVERYTHING, 6);
    check(&Walk::new(options(Profile::Contention, 60)).collect::<Vec<_>>(), 12);
}

#[test]
fn many_pay_one_account_in_one_block() {
    occurs(|step| {
        let mut payers: HashMap<Address, HashSet<Address>> = HashMap::new();
        for transaction in step.executed() {
            for output in outputs(transaction) {
                payers.entry(output.destination).or_default().insert(transaction.source);
            }
        }
        payers.values().any(|payers| payers.len() >= 5)
    });
}

#[test]
fn senders_send_several_in_a_row() {
    occurs(|step| {
        step.by_source().values().any(|sent| {
            sent.windows(4).any(|four| {
                let numbers: Vec<_> = four.iter().map(|sent| sent.nonce.as_u64()).collect();
                numbers.windows(2).all(|pair| pair[0] + 1 == pair[1])
            })
        })
    });
}

#[test]
fn who_receives_spends_at_once() {
    occurs(|step| {
        let executed: Vec<_> = step.executed().collect();
        executed.windows(2).any(|pair| {
            let mut paid = outputs(pair[0]).iter();
            paid.any(|output| output.amount > Amount::ZERO && output.destination == pair[1].source)
        })
    });
}

#[test]
fn flows_cancel_each_other_and_leave_what_was_there() {
    #[track_caller]
    fn check(of_interest: impl Fn(AssetId) -> bool) {
        occurs(|step| {
            step.flows().into_iter().any(|((account, asset), flow)| {
                of_interest(asset)
                    && flow.sent > 0
                    && flow.sent == flow.received
                    && step.after(account, asset) == Some(step.before(account, asset))
            })
        });
    }
    check(|asset| asset == AssetId::NATIVE);
    check(|asset| asset != AssetId::NATIVE);
}

#[test]
fn money_goes_round_among_three() {
    occurs(|step| {
        let executed: Vec<_> = step.executed().collect();
        executed.windows(3).any(|three| {
            let paid = |from: usize, to: usize| {
                outputs(three[from]).iter().any(|output| {
                    output.destination == three[to].source && output.amount > Amount::ZERO
                })
            };
            let sources: HashSet<_> = three.iter().map(|sent| sent.source).collect();
            sources.len() == 3 && paid(0, 1) && paid(1, 2) && paid(2, 0)
        })
    });
}

#[test]
fn miner_and_dev_key_pay_and_are_paid() {
    let pays = |step: &Step, from: Address, to: Option<Address>| {
        step.executed().any(|sent| {
            let mut outputs = outputs(sent).iter();
            sent.source == from
                && outputs.any(|output| to.is_none_or(|to| output.destination == to))
        })
    };
    let is_paid = |step: &Step, account: Address| {
        let mut outputs = step.executed().flat_map(outputs);
        outputs.any(|output| output.destination == account && output.amount > Amount::ZERO)
    };
    occurs(|step| pays(step, step.block.miner, None));
    occurs(|step| pays(step, step.executable.dev, None));
    occurs(|step| pays(step, step.block.miner, Some(step.executable.dev)));
    occurs(|step| pays(step, step.executable.dev, Some(step.block.miner)));
    occurs(|step| is_paid(step, step.block.miner) && is_paid(step, step.executable.dev));
    // After the first block, which the dev key always mines.
    let mined = EVERYTHING.iter().skip(1).filter(|step| step.block.miner == step.executable.dev);
    assert!(mined.count() > 0, "the dev key mines no block");
}

#[test]
fn nothing_is_paid_and_a_version_is_written() {
    occurs(|step| {
        step.flows().into_iter().any(|((account, asset), flow)| {
            let untouched = flow.sent == 0 && flow.received == 0;
            untouched && step.after(account, asset) == Some(step.before(account, asset))
        })
    });
}

#[test]
fn one_destination_has_many_outputs_of_one_transaction() {
    #[track_caller]
    fn check(least: usize) {
        occurs(|step| {
            step.executed().any(|sent| {
                let outputs = outputs(sent);
                let to: HashSet<_> = outputs.iter().map(|output| output.destination).collect();
                outputs.len() >= least && to.len() == 1
            })
        });
    }
    check(3);
    check(30);
    check(100);
}

#[test]
fn outputs_of_several_kinds_go_to_several_destinations() {
    occurs(|step| {
        step.executed().any(|sent| {
            let outputs = outputs(sent);
            let to: HashSet<_> = outputs.iter().map(|output| output.destination).collect();
            let zero = outputs.iter().any(|output| output.amount == Amount::ZERO);
            to.len() > 1 && outputs.len() > to.len() && zero
        })
    });
}

#[test]
fn three_assets_move_alone_and_together() {
    let assets = |sent: &Transaction| -> BTreeSet<AssetId> {
        outputs(sent).iter().map(|output| output.asset).collect()
    };
    let alone: BTreeSet<_> = EVERYTHING
        .iter()
        .flat_map(|step| step.executed().map(assets).filter(|assets| assets.len() == 1))
        .flatten()
        .collect();
    assert_eq!(alone.len(), 3, "{alone:?}");
    occurs(|step| step.executed().any(|sent| assets(sent).len() == 2));
    occurs(|step| step.executed().any(|sent| assets(sent).len() == 3));
}

#[test]
fn each_asset_is_burned() {
    let burned = |sent: &Transaction| match sent.data {
        TransactionData::Burn { asset, .. } => Some(asset),
        _ => None,
    };
    let assets: BTreeSet<_> =
        EVERYTHING.iter().flat_map(|step| step.executed().filter_map(burned)).collect();
    assert_eq!(assets.len(), 3, "{assets:?}");
    occurs(|step| step.control.totals.burned > Amount::ZERO);
}

#[test]
fn amounts_come_near_the_limits_of_numbers() {
    let sends = |step: &Step, range: std::ops::RangeInclusive<u64>| {
        let mut outputs = step.executed().flat_map(outputs);
        outputs.any(|output| range.contains(&output.amount.as_u64()))
    };
    const EXACT: u64 = 1 << 53;
    for amount in [EXACT - 1, EXACT, EXACT + 1] {
        occurs(|step| sends(step, amount..=amount));
    }
    occurs(|step| sends(step, u64::MAX - (1 << 41)..=u64::MAX));
}

#[test]
fn credits_overflow_at_first_and_at_last() {
    let overflows = |step: &Step, output: &Transfer| {
        let before = step.before(output.destination, output.asset);
        before.checked_add(output.amount).is_none()
    };
    occurs(|step| step.failed().any(|failed| overflows(step, &outputs(failed)[0])));
    occurs(|step| {
        step.failed().any(|failed| {
            let (first, later) = outputs(failed).split_first().unwrap();
            // What was credited before the failure stays.
            let stays = step.after(first.destination, first.asset).is_some();
            !overflows(step, first) && stays && later.iter().any(|output| overflows(step, output))
        })
    });
}

#[test]
fn the_nonce_of_what_failed_is_used_again_in_the_same_block() {
    occurs(|step| {
        step.failed().any(|failed| {
            let mut executed = step.executed();
            executed.any(|sent| sent.source == failed.source && sent.nonce == failed.nonce)
        })
    });
    occurs(|step| {
        step.failed().any(|failed| {
            let mut executed = step.executed();
            !executed.any(|sent| sent.source == failed.source && sent.nonce == failed.nonce)
        })
    });
}

#[test]
fn multisig_is_set_replaced_deleted_and_set_again() {
    /// What one account does with its configuration in one block: `+` sets, `-` deletes.
    fn does(step: &Step, what: &str, before: bool, after: Option<bool>) -> bool {
        step.by_source().into_iter().any(|(source, sent)| {
            let configs: String = sent
                .iter()
                .filter_map(|sent| config(sent))
                .map(|config| if config.threshold > 0 { '+' } else { '-' })
                .collect();
            let key = StateKey::Multisig(source);
            configs == what
                && step.pre_state.read(&key).unwrap().is_some() == before
                && step.control.delta.get(&key).map(|value| value.is_some()) == after
        })
    }
    occurs(|step| does(step, "+", false, Some(true)));
    occurs(|step| does(step, "+", true, Some(true)));
    occurs(|step| does(step, "++", false, Some(true)));
    occurs(|step| does(step, "+-", false, Some(false)));
    occurs(|step| does(step, "-", true, Some(false)));
    occurs(|step| does(step, "+-+", false, Some(true)));
}

#[test]
fn multisig_configurations_keep_the_rules() {
    for step in &*EVERYTHING {
        for transaction in &step.block.transactions {
            let Some(MultisigConfig { threshold, participants }) = config(transaction) else {
                continue;
            };
            let different: HashSet<_> = participants.iter().collect();
            assert_eq!(different.len(), participants.len());
            assert!(!participants.contains(&transaction.source));
            assert_eq!(*threshold == 0, participants.is_empty());
            assert!(usize::from(*threshold) <= participants.len());
        }
    }
}

#[test]
fn a_multisig_account_spends_in_the_block_that_configures_it() {
    occurs(|step| {
        step.by_source().values().any(|sent| {
            let set = sent.iter().position(|sent| config(sent).is_some());
            let spent = sent.iter().position(|sent| {
                !outputs(sent).is_empty() && sent.multisig.as_ref().is_some_and(|by| by.len() > 1)
            });
            set.is_some() && spent > set
        })
    });
}

#[test]
fn nonces_are_used_again() {
    let skipped =
        |step: &Step, sent: &Transaction| step.status(sent) == &Status::Skipped(SkipReason::Nonce);
    // Just after it was used, and blocks later.
    occurs(|step| {
        step.block.transactions.windows(2).any(|pair| {
            let same = pair[0].source == pair[1].source && pair[0].nonce == pair[1].nonce;
            same && step.status(&pair[0]) == &Status::Executed && skipped(step, &pair[1])
        })
    });
    occurs(|step| {
        let mut sent = step.block.transactions.iter();
        sent.any(|sent| skipped(step, sent) && Some(sent.nonce) < step.nonce_before(sent.source))
    });
}

#[test]
fn nonces_leave_gaps_and_come_in_the_wrong_order() {
    let numbers = |step: &Step| -> Vec<Vec<i128>> {
        let sources = step.by_source().into_iter();
        let relative = sources.map(|(source, sent)| {
            let before = i128::from(step.nonce_before(source).unwrap().as_u64());
            sent.iter().map(|sent| i128::from(sent.nonce.as_u64()) - before).collect()
        });
        relative.collect()
    };
    occurs(|step| numbers(step).iter().any(|numbers| numbers == &[1, 0]));
    occurs(|step| numbers(step).iter().any(|numbers| numbers == &[1]));
    occurs(|step| numbers(step).iter().any(|numbers| numbers == &[2, 1, 0]));
    for quirk in [Quirk::NonceGap, Quirk::NonceOutOfOrder, Quirk::FailedKeepsEffects] {
        occurs(|step| count(&step.quirks, quirk) > 0);
    }
}

#[test]
fn what_was_executed_before_comes_again_in_side_blocks_only() {
    let again = |step: &Step| {
        step.block
            .transactions
            .iter()
            .any(|sent| step.status(sent) == &Status::Skipped(SkipReason::AlreadyExecuted))
    };
    occurs(again);
    // A block that comes back after a re-order is as it was, wherever it is then.
    let mut seen = HashSet::new();
    for step in EVERYTHING.iter().filter(|step| seen.insert(step.block.hash) && again(step)) {
        assert_eq!(step.block.block_type, BlockType::Side);
    }
}

#[test]
fn side_blocks_earn_less_and_less() {
    let mut percentages = BTreeSet::new();
    for step in &*EVERYTHING {
        let reward = step.executable.reward.total();
        let emitted = step.block.claimed.supply.checked_sub(reward).unwrap();
        let base = base_reward(emitted).as_u64();
        let percentage = (1..=100).find(|part| base * part / 100 == reward.as_u64());
        percentages.insert(percentage.unwrap());
        assert_eq!(step.executable.side_block, percentage != Some(100));
        assert_eq!(step.block.claimed.reward, reward);
    }
    assert_eq!(percentages, BTreeSet::from([5, 7, 15, 30, 100]));
}

#[test]
fn side_blocks_of_one_blue_score_come_in_a_row() {
    let row = EVERYTHING.windows(4).any(|steps| {
        let score = steps[0].block.blue_score;
        steps.iter().all(|step| step.executable.side_block && step.block.blue_score == score)
    });
    assert!(row);
}

#[test]
fn blocks_are_empty_have_one_transaction_few_or_many() {
    for size in [0..=0, 1..=1, 2..=15, 50..=80, 120..=1000] {
        occurs(|step| size.contains(&step.block.transactions.len()));
    }
}

#[test]
fn accounts_come_into_being() {
    let born = |step: &Step, payments: &dyn Fn(&[Amount]) -> bool| {
        let mut received: HashMap<Address, Vec<Amount>> = HashMap::new();
        for output in step.executed().flat_map(outputs) {
            received.entry(output.destination).or_default().push(output.amount);
        }
        received.into_iter().any(|(account, amounts)| {
            let registered = StateKey::Registered(account);
            let written =
                step.control.delta.get(&registered) == Some(Some(&StateValue::Registered));
            step.nonce_before(account).is_none() && written && payments(&amounts)
        })
    };
    occurs(|step| born(step, &|amounts| amounts.len() == 3));
    occurs(|step| born(step, &|amounts| amounts.len() == 2));
    occurs(|step| born(step, &|amounts| amounts == [Amount::ZERO]));
}

#[test]
fn who_came_into_being_sends_later() {
    let base = GeneratedChain::new(options(Profile::NewAccounts, 30)).base();
    let sources = Walk::new(options(Profile::NewAccounts, 30)).flat_map(|step| {
        let executed: Vec<_> = step.executed().map(|sent| sent.source).collect();
        executed.into_iter().filter(move |source| *source != step.executable.dev)
    });
    let born = sources.filter(|source| base.get(&StateKey::Nonce(*source)).is_none());
    assert!(born.collect::<HashSet<_>>().len() > 100);
}

#[test]
fn nine_of_ten_blocks_are_exercised_and_the_engine_agrees() {
    let engine = ParallelExecutor::new(2).unwrap();
    let matches = EVERYTHING.iter().filter(|step| step.is_match(&engine)).count();
    assert!(matches * 10 > EVERYTHING.len() * 9, "{matches} of {}", EVERYTHING.len());
}

#[test]
fn every_profile_stays_within_the_rules_and_the_engine_agrees() {
    let engine = ParallelExecutor::new(2).unwrap();
    for profile in Profile::ALL {
        let mut matches = 0;
        for step in Walk::new(options(profile, 30)) {
            for quirk in [Quirk::DebitWrapped, Quirk::DebitSaturated] {
                assert_eq!(count(&step.quirks, quirk), 0, "{profile}: {quirk:?}");
            }
            assert!(!step.block.has_duplicate_transactions());
            for transaction in &step.block.transactions {
                let outputs = outputs(transaction);
                assert!(outputs.len() <= 255, "{profile}");
                let to_itself =
                    outputs.iter().any(|output| output.destination == transaction.source);
                assert!(!to_itself, "{profile}: {} pays itself", transaction.source);
                if let Status::Failed(reason) = step.status(transaction) {
                    assert_eq!(*reason, FailReason::CreditOverflow);
                    let overflows = outputs.iter().any(|output| {
                        let before = step.before(output.destination, output.asset);
                        before.checked_add(output.amount).is_none()
                    });
                    assert!(overflows, "{profile}: an overflow by accident");
                }
            }
            matches += u64::from(step.is_match(&engine));
        }
        assert!(matches * 100 > BLOCKS * 85, "{profile}: {matches} of {BLOCKS}");
    }
}

#[test]
fn blocks_may_be_small_or_of_any_conflict_rate() {
    for (transactions_per_block, conflict_rate) in [(1, 0.0), (2, 1.0), (7, 0.5), (300, 1.0)] {
        let options = GeneratedOptions {
            transactions_per_block,
            conflict_rate,
            blocks: 20,
            ..options(Profile::Everything, 1)
        };
        assert_eq!(standing(GeneratedChain::new(options)).len(), 21);
        assert!(Walk::new(options).count() >= 21);
    }
}

/// A change of the generator changes these hashes. So does one of a profile, of that profile alone.
#[test]
fn the_chains_of_a_seed_are_these() {
    let hashes = Profile::ALL.map(|profile| {
        let to_50 = GeneratedOptions { blocks: 50, ..options(profile, 60) };
        let blocks = standing(GeneratedChain::new(to_50));
        assert_eq!(blocks.len(), 51);
        (profile.name(), blocks[50].hash.to_string())
    });
    assert_eq!(hashes, FROZEN.map(|(name, hash)| (name, hash.to_owned())));
}

#[test]
fn the_profile_is_part_of_what_a_chain_is() {
    let identities: BTreeMap<_, _> = Profile::ALL
        .map(|profile| {
            let chain = GeneratedChain::new(options(profile, 60));
            (chain.identity().name.clone(), profile.name())
        })
        .into();
    assert_eq!(identities.len(), Profile::ALL.len());
    for (name, profile) in identities {
        assert!(name.contains(profile), "{name}");
    }
}

/// Fails unless some block of the chain in which everything occurs is such a one.
#[track_caller]
fn occurs(in_block: impl Fn(&Step) -> bool) {
    assert!(EVERYTHING.iter().any(in_block), "it occurs in none of {BLOCKS} blocks");
}

fn options(profile: Profile, transactions_per_block: usize) -> GeneratedOptions {
    GeneratedOptions {
        profile,
        seed: 1,
        blocks: BLOCKS,
        transactions_per_block,
        conflict_rate: 0.2,
    }
}

/// The hash of block 50 of seed 1, by profile.
const FROZEN: [(&str, &str); 8] = [
    ("transfers", "bb5f2b946ad4752b5efb2c3823f8ec50b847a25793b467c5711b589dc0c0d42c"),
    ("contention", "5b58e43211ca0d432d635436cd7a15d48dbb580f652129db4a2ab6c61787e560"),
    ("multisig", "91c04dfba741e478a6b1d9c5a25e41d832411aa6adc030c7f91339b57c431899"),
    ("miner-active", "c49db6168d3617ec3b831522f4ec2cbb001efa9cd4c020282e4263124d7b03e4"),
    ("new-accounts", "c0055cd430b1431162a7f44ba4e0e28da63cb47ae22575d2a29e23588bbd2ddf"),
    ("failures", "edcd02ff31acebe9456e1d680f828d41f40763668c673a3e239fe9f95064d8b0"),
    ("side-blocks", "6d6987a7a79b88cab78a767d7528c433608b076306c8cb5eb893d5cca362f1f7"),
    ("everything", "760fc2aebbf26da06bd797d62e568caa57f5b03737e6e56820630af8c728937a"),
];
