//! Everything that a node is asked about one block.

use std::{collections::HashMap, fmt, sync::Arc, time::Duration};

use storage_snapshot::{Address, AssetId, BlockHash, BlockRef, StateKey, TopoHeight, TxHash};
use tokio::runtime::Handle;

use super::{
    error::NodeError,
    questions::{NodeVersion, Questions},
};
use crate::{
    execute::ExecutableBlock,
    opaque::may_pay_anybody,
    rules::NamedKeys,
    source::{NodeAnswers, Payout, VersionAnswer},
};

/// A block that the node is asked about.
#[derive(Clone, Debug)]
pub(super) struct Subject {
    pub(super) block: BlockRef,
    pub(super) named: Arc<NamedKeys>,
    pub(super) dev: Address,
    /// Its transactions, and whether each of them can pay accounts that it does not name.
    pub(super) transactions: Vec<(TxHash, bool)>,
}

/// Asks about blocks: the version of every named key at exactly their positions, which transactions
/// they executed, and what their contracts paid to whom.
pub(super) async fn answers_about(
    questions: &Questions,
    subjects: &[Subject],
) -> Result<Vec<NodeAnswers>, NodeError> {
    let keys: Vec<(StateKey, TopoHeight)> = subjects.iter().flat_map(Subject::keys).collect();
    let executed: Vec<(TxHash, BlockHash)> = subjects
        .iter()
        .flat_map(|subject| {
            subject.transactions.iter().map(|(hash, _)| (*hash, subject.block.hash))
        })
        .collect();
    let contracts: Vec<TxHash> = subjects.iter().flat_map(Subject::contracts).collect();
    let (versions, executed, payouts) = tokio::try_join!(
        questions.versions(&keys),
        questions.executed(&executed),
        questions.payouts(&contracts)
    )?;
    let (mut versions, mut executed, mut payouts) =
        (versions.into_iter(), executed.into_iter(), payouts.into_iter());
    let mut answers = Vec::with_capacity(subjects.len());
    for subject in subjects {
        let mut about = NodeAnswers::default();
        for ((key, _), version) in subject.keys().zip(&mut versions) {
            add_version(&mut about, key, version);
        }
        about.executed =
            subject.transactions.iter().map(|(hash, _)| *hash).zip(&mut executed).collect();
        let paid = subject.contracts().zip(&mut payouts);
        about.payouts = paid.filter_map(|(hash, paid)| Some((hash, paid?))).collect();
        answers.push(about);
    }
    ask_payees(questions, subjects, &mut answers).await?;
    ask_where_else(questions, subjects, &mut answers).await?;
    Ok(answers)
}

impl Subject {
    /// The keys that a node has versions of, and where they are asked for.
    fn keys(&self) -> impl Iterator<Item = (StateKey, TopoHeight)> + '_ {
        let keys = self.named.iter().filter(|key| !matches!(key, StateKey::Registered(_)));
        keys.map(|key| (key, self.block.topoheight))
    }

    fn contracts(&self) -> impl Iterator<Item = TxHash> + '_ {
        self.transactions.iter().filter(|(_, pays)| *pays).map(|(hash, _)| *hash)
    }
}

fn add_version(about: &mut NodeAnswers, key: StateKey, version: Option<NodeVersion>) {
    let answer = match version {
        Some(NodeVersion { value, previous }) => {
            if !matches!(key, StateKey::Multisig(_)) {
                about.previous.insert(key, previous);
            }
            VersionAnswer::Written(value)
        }
        None => VersionAnswer::NotWritten,
    };
    about.versions.push((key, answer));
}

/// Whom contracts paid, no block says beforehand, so it is asked afterwards.
async fn ask_payees(
    questions: &Questions,
    subjects: &[Subject],
    answers: &mut [NodeAnswers],
) -> Result<(), NodeError> {
    let mut asked = Vec::new();
    for (place, (subject, about)) in subjects.iter().zip(&*answers).enumerate() {
        for payout in about.payouts.values().flatten() {
            let Payout::Transfer { destination, asset, .. } = payout else { continue };
            for key in [StateKey::Balance(*destination, *asset), StateKey::Nonce(*destination)] {
                let question = (place, (key, subject.block.topoheight));
                if !subject.named.contains(&key) && !asked.contains(&question) {
                    asked.push(question);
                }
            }
        }
    }
    let keys: Vec<_> = asked.iter().map(|(_, question)| *question).collect();
    for ((place, (key, _)), version) in asked.into_iter().zip(questions.versions(&keys).await?) {
        if let Some(about) = answers.get_mut(place) {
            add_version(about, key, version);
        }
    }
    Ok(())
}

/// Every block writes the balance of the dev key. A node that did not, wrote its versions somewhere
/// else: one position too low, as far as anybody has seen. What it wrote there is what its next block
/// starts from.
async fn ask_where_else(
    questions: &Questions,
    subjects: &[Subject],
    answers: &mut [NodeAnswers],
) -> Result<(), NodeError> {
    for (subject, about) in subjects.iter().zip(answers) {
        let always = (StateKey::Balance(subject.dev, AssetId::NATIVE), VersionAnswer::NotWritten);
        let Some(below) = subject.block.topoheight.previous() else { continue };
        if !about.versions.contains(&always) {
            continue;
        }
        let missing =
            about.versions.iter().filter(|(_, answer)| *answer == VersionAnswer::NotWritten);
        let missing: Vec<_> = missing.map(|(key, _)| (*key, below)).collect();
        let versions = questions.versions(&missing).await?;
        about.moved = missing
            .into_iter()
            .zip(versions)
            .filter_map(|((key, _), version)| Some((key, version?.value)))
            .collect();
    }
    Ok(())
}

/// Asks about a block when it turns out that its state has to be taken from the node.
#[derive(Clone)]
pub struct AskLater {
    pub(super) handle: Handle,
    pub(super) questions: Questions,
}

impl AskLater {
    /// What the node says about a block; nothing, if it does not answer in time.
    pub(crate) fn about(&self, block: &ExecutableBlock, named: &Arc<NamedKeys>) -> NodeAnswers {
        let subject = Subject {
            block: block.block,
            named: Arc::clone(named),
            dev: block.dev,
            transactions: block
                .transactions
                .iter()
                .map(|transaction| (transaction.body.hash, may_pay_anybody(&transaction.body)))
                .collect(),
        };
        let asked = self
            .handle
            .block_on(async { tokio::time::timeout(LATE_TIMEOUT, self.confirmed(subject)).await });
        match asked {
            Ok(Ok(answers)) => answers,
            Ok(Err(error)) => {
                tracing::warn!(topoheight = %block.block.topoheight, %error, "the state after a block \
                    cannot be taken from the node");
                NodeAnswers::default()
            }
            Err(_) => {
                tracing::warn!(topoheight = %block.block.topoheight, "the node does not say in time \
                    what the state after a block is");
                NodeAnswers::default()
            }
        }
    }
}

impl AskLater {
    /// What the node says about a block that is in its place when everything is said: of another block
    /// there it says other things, and of none that nothing was written.
    async fn confirmed(&self, subject: Subject) -> Result<NodeAnswers, NodeError> {
        let BlockRef { topoheight: at, hash } = subject.block;
        let subjects = [subject];
        loop {
            let mut answers = answers_about(&self.questions, &subjects).await?;
            match self.questions.order_at_once(at.as_u64()..=at.as_u64()).await {
                Ok(order) if order == [hash] => return Ok(answers.pop().unwrap_or_default()),
                Ok(_) => return Err(NodeError::Moved { at }),
                // Of a chain that ends below it there is no order up to there, however often it is asked for.
                Err(NodeError::Failed { .. }) if self.ends_below(at).await => {
                    return Err(NodeError::Moved { at });
                }
                Err(error) if error.is_transient() => tokio::time::sleep(LATE_PAUSE).await,
                Err(error) => return Err(error),
            }
        }
    }

    /// Whether the node says so; one that does not answer may have it.
    async fn ends_below(&self, at: TopoHeight) -> bool {
        self.questions.tops(None).await.is_ok_and(|(tops, _)| tops.top < at)
    }
}

impl fmt::Debug for AskLater {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AskLater").field("questions", &self.questions).finish_non_exhaustive()
    }
}

/// The versions that answers are about.
pub(super) fn versions_in(answers: &NodeAnswers) -> HashMap<StateKey, Option<NodeVersion>> {
    let versions = answers.versions.iter().map(|(key, answer)| {
        let version = match answer {
            VersionAnswer::Written(value) => Some(NodeVersion {
                value: value.clone(),
                previous: answers.previous.get(key).copied().flatten(),
            }),
            VersionAnswer::NotWritten => None,
        };
        (*key, version)
    });
    versions.collect()
}

/// A block waits for these answers, so they may not take as long as they like.
const LATE_TIMEOUT: Duration = Duration::from_secs(20);
const LATE_PAUSE: Duration = Duration::from_millis(200);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        chain::Network,
        devnet::{DevnetChain, DevnetNode, DevnetOptions, Pace},
        source::{
            GeneratedOptions, Profile,
            node::{ClientOptions, NodeClient},
        },
    };

    #[test]
    fn a_block_above_the_last_one_is_gone_and_not_waited_for() {
        let chain = DevnetChain::Generated(GeneratedOptions {
            profile: Profile::Transfers,
            seed: 1,
            blocks: 5,
            transactions_per_block: 1,
            conflict_rate: 0.0,
        });
        let options = DevnetOptions { pace: Pace::AllAtOnce, ..DevnetOptions::new(chain) };
        let node = DevnetNode::start(options).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let client = NodeClient::new(&ClientOptions::new(node.url())).unwrap();
        let questions = Questions { client, network: Network::Test };
        let later = AskLater { handle: runtime.handle().clone(), questions };
        let (at, dev) = (TopoHeight::new(9), Address::new([1; 32]));
        let subject = Subject {
            block: BlockRef { topoheight: at, hash: BlockHash::new([9; 32]) },
            named: Arc::new(NamedKeys::of_block(&dev, &dev, [].iter())),
            dev,
            transactions: Vec::new(),
        };
        let asked = async { tokio::time::timeout(LATE_TIMEOUT, later.confirmed(subject)).await };
        let moved = runtime.block_on(asked).unwrap();
        assert!(matches!(moved, Err(NodeError::Moved { at: found }) if found == at), "{moved:?}");
    }
}
