//! Recording a chain: a running node is asked about it block by block, and what it answered is kept
//! in the form that `shadow replay` reads.
//!
//! Of each block are kept the block, whether it wrote a version of each key that it names and which,
//! and what became of its transactions and contracts. If the last block is the node's last one, also
//! what the node says of the end: newest values, every version that ever was of the keys that blocks
//! name, and the node itself. Errors that say "there is no such thing" are answers, and kept.
//!
//! Nothing is kept under the name that was asked for unless all of it is, and the blocks are still
//! the ones in their places when the last answer is there.

pub(crate) mod command;
mod error;
mod files;

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    io,
    path::PathBuf,
};

pub use error::RecordError;
use files::{Files, Said};
use serde::{Deserialize, de::Error as _};
use serde_json::{Value, json, value::RawValue};
use storage_snapshot::{Address, AssetId, BlockHash, StateKey, TopoHeight};

use crate::{
    chain::{Block, Network, NetworkAddress, OpaqueKind, decode_block},
    rules::NamedKeys,
    source::node::{Answer, Call, ClientOptions, NodeClient, NodeError},
};

/// What is recorded, and where it goes.
#[derive(Clone, Debug)]
pub struct RecordOptions {
    /// The node, and how it is spoken to.
    pub client: ClientOptions,
    /// The first block. `shadow replay` begins at 0.
    pub from: TopoHeight,
    /// The last block; the last stable one if it is not named.
    pub to: Option<TopoHeight>,
    /// Where the recording will be found.
    pub directory: PathBuf,
}

/// What was recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// How many blocks.
    pub blocks: u64,
    /// How many questions were asked for them.
    pub questions: u64,
    /// Whether the last block was the node's last one, so that there are answers about the end.
    pub with_end: bool,
    /// Whether accounts had something before the first block, which a recording does not tell.
    pub is_funded: bool,
}

/// Records a part of a node's chain.
///
/// # Errors
///
/// When the node cannot be asked, its blocks are ordered anew meanwhile, or the recording cannot be
/// written. Nothing is left then.
pub fn record(options: &RecordOptions) -> Result<Recorded, RecordError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(RecordError::Runtime)?;
    let client = NodeClient::new(&options.client)?;
    runtime.block_on(async {
        let written = |source| RecordError::Write { directory: options.directory.clone(), source };
        let asked = Asked { client, questions: 0 };
        let files = Files::create(&options.directory).map_err(written)?;
        let mut recorder = Recorder::new(asked, files, options.directory.clone());
        match recorder.record(options).await {
            Ok(recorded) => {
                recorder.files.finish().map_err(written)?;
                Ok(recorded)
            }
            Err(error) => {
                recorder.files.abandon();
                Err(error)
            }
        }
    })
}

/// A node that is asked.
struct Asked {
    client: NodeClient,
    questions: u64,
}

impl Asked {
    /// Asks several things at once.
    async fn all(&mut self, questions: &[Question]) -> Result<Vec<Said>, RecordError> {
        self.questions += questions.len() as u64;
        let calls = questions.iter().map(|question| match &question.params {
            Some(params) => Call::with(question.method, params.clone()),
            None => Call::plain(question.method),
        });
        let answers = self.client.ask_all(calls.collect()).await?;
        Ok(answers.into_iter().map(Said::from).collect())
    }

    async fn one(&mut self, question: &Question) -> Result<Said, RecordError> {
        let mut said = self.all(std::slice::from_ref(question)).await?;
        // There is one answer per question.
        said.pop().ok_or_else(|| missing(question.method))
    }

    async fn number(&mut self, method: &'static str) -> Result<u64, RecordError> {
        match self.one(&Question::plain(method)).await? {
            Said::Result(result) => parse(method, &result),
            Said::Error { .. } => Err(missing(method)),
        }
    }
}

impl From<Answer> for Said {
    fn from(answer: Answer) -> Self {
        match answer {
            Answer::Found(result) => Self::Result(result),
            Answer::NotFound { code, message } => Self::Error { code, message },
        }
    }
}

#[derive(Clone, Debug)]
struct Question {
    method: &'static str,
    params: Option<Value>,
}

impl Question {
    const fn plain(method: &'static str) -> Self {
        Self { method, params: None }
    }

    const fn with(method: &'static str, params: Value) -> Self {
        Self { method, params: Some(params) }
    }
}

struct Recorder {
    asked: Asked,
    files: Files,
    directory: PathBuf,
    /// The key that receives the dev share.
    dev: Address,
    network: Network,
    hashes: Vec<BlockHash>,
    /// Every key that was asked about, and so every account.
    keys: BTreeSet<StateKey>,
    /// The versions that were found, with the one before each.
    found: HashMap<(StateKey, TopoHeight), Box<RawValue>>,
}

impl Recorder {
    fn new(asked: Asked, files: Files, directory: PathBuf) -> Self {
        Self {
            asked,
            files,
            directory,
            dev: Address::new([0; 32]),
            network: Network::Test,
            hashes: Vec::new(),
            keys: BTreeSet::new(),
            found: HashMap::new(),
        }
    }

    async fn record(&mut self, options: &RecordOptions) -> Result<Recorded, RecordError> {
        let top = TopoHeight::new(self.asked.number("get_topoheight").await?);
        let to = match options.to {
            Some(to) => to,
            None => TopoHeight::new(self.asked.number("get_stable_topoheight").await?),
        };
        let from = options.from;
        if to > top {
            return Err(RecordError::Above { to, top });
        }
        if from > to {
            return Err(RecordError::Empty { from, to });
        }
        let (genesis, _) = self.block_at(TopoHeight::GENESIS).await?;
        (self.dev, self.network) = (genesis.miner, genesis.network);
        let mut at = from;
        while at <= to {
            let (block, said) = self.block_at(at).await?;
            self.block(&block, &said).await?;
            at = at.next();
        }
        let with_end = to == top;
        if with_end {
            self.end().await?;
        }
        let now = TopoHeight::new(self.asked.number("get_topoheight").await?);
        self.check_order(from).await?;
        // A node that went on meanwhile spoke of another end.
        if with_end && now != top {
            return Err(RecordError::WentOn { to, now });
        }
        // Only a hint: the recording is whole without it.
        let is_funded = self.is_funded().await.unwrap_or_default();
        Ok(Recorded {
            blocks: to.blocks_since(from) + 1,
            questions: self.asked.questions,
            with_end,
            is_funded,
        })
    }

    /// Whether accounts that the first block pays nothing have a nonce from there all the same: a chain of a real
    /// network begins with nothing, one that somebody made for tests may not.
    async fn is_funded(&mut self) -> Result<bool, RecordError> {
        let nonces = self.keys.iter().filter(|key| matches!(key, StateKey::Nonce(_)));
        let others = nonces.filter(|key| *key.account() != self.dev).take(FUNDED_ASKED);
        let questions: Vec<_> =
            others.map(|key| exact_question(key, self.network, TopoHeight::GENESIS)).collect();
        let answers = self.asked.all(&questions).await?;
        Ok(answers.iter().any(|said| matches!(said, Said::Result(_))))
    }

    /// A block whose hashes hold. An answer that was damaged on the way is asked for again.
    async fn block_at(&mut self, at: TopoHeight) -> Result<(Block, Said), RecordError> {
        let question = block_question(at);
        let mut tries = 0;
        loop {
            let said = self.asked.one(&question).await?;
            let Said::Result(result) = &said else { return Err(missing(question.method)) };
            tries += 1;
            match decode_block(result.get()) {
                Ok(block) if block.topoheight == at => return Ok((block, said)),
                Err(error) if tries == TRIES_MAX => return Err(RecordError::Block(error)),
                Ok(Block { topoheight: found, .. }) if tries == TRIES_MAX => {
                    return Err(NodeError::Position { asked: at, found }.into());
                }
                _ => {}
            }
        }
    }

    /// One block, and everything about it.
    async fn block(&mut self, block: &Block, said: &Said) -> Result<(), RecordError> {
        self.hashes.push(block.hash);
        let question = block_question(block.topoheight);
        self.write(|files| &mut files.blocks, &question, said)?;

        let transactions = transaction_questions(block);
        let answers = self.asked.all(&transactions).await?;
        let mut paid = HashSet::new();
        for (question, said) in transactions.iter().zip(&answers) {
            self.write(|files| &mut files.txs, question, said)?;
            if let (CONTRACT_OUTPUTS, Said::Result(outputs)) = (question.method, said) {
                paid.extend(paid_by(outputs)?);
            }
        }

        let named = NamedKeys::of_block(&block.miner, &self.dev, block.transactions.iter());
        let named = named.iter().filter(|key| !matches!(key, StateKey::Registered(_)));
        let keys: BTreeSet<StateKey> = named.chain(paid).collect();
        let versions: Vec<_> =
            keys.iter().map(|key| exact_question(key, self.network, block.topoheight)).collect();
        let answers = self.asked.all(&versions).await?;
        for ((key, question), said) in keys.iter().zip(&versions).zip(&answers) {
            self.write(|files| &mut files.versions, question, said)?;
            if let Said::Result(result) = said {
                self.found.insert((*key, block.topoheight), result.clone());
            }
        }
        self.keys.extend(keys);
        Ok(())
    }

    /// What the node says of the end.
    async fn end(&mut self) -> Result<(), RecordError> {
        for question in NODE_QUESTIONS.map(Question::plain) {
            let said = self.asked.one(&question).await?;
            self.write(|files| &mut files.node, &question, &said)?;
        }
        let accounts: BTreeSet<Address> = self.keys.iter().map(|key| *key.account()).collect();
        for account in accounts {
            let address = NetworkAddress { account, network: self.network }.to_string();
            let questions = ["has_multisig", "get_account_assets", REGISTRATION]
                .map(|method| Question::with(method, json!({"address": address})));
            let answers = self.asked.all(&questions).await?;
            for (question, said) in questions.iter().zip(&answers) {
                self.write(|files| &mut files.final_state, question, said)?;
            }
        }
        let keys: Vec<_> = self.keys.iter().copied().collect();
        let newest: Vec<_> = keys.iter().map(|key| newest_question(key, self.network)).collect();
        let answers = self.asked.all(&newest).await?;
        for ((key, question), said) in keys.iter().zip(&newest).zip(&answers) {
            self.write(|files| &mut files.final_state, question, said)?;
            if let Said::Result(result) = said {
                let WrittenAt { topoheight } = parse(question.method, result)?;
                self.history(key, topoheight).await?;
            }
        }
        Ok(())
    }

    /// Every version of a key, from the newest back. A node of the parallel path links some to
    /// themselves; a walk that does not go down ends.
    async fn history(&mut self, key: &StateKey, newest: TopoHeight) -> Result<(), RecordError> {
        let mut next = Some(newest);
        while let Some(at) = next.take() {
            let result = match self.found.get(&(*key, at)) {
                Some(result) => result.clone(),
                None => match self.asked.one(&exact_question(key, self.network, at)).await? {
                    Said::Result(result) => result,
                    Said::Error { .. } => return Ok(()),
                },
            };
            let address = NetworkAddress { account: *key.account(), network: self.network };
            let mut line = json!({
                "k": kind_of(key),
                "address": address.to_string(),
                "topoheight": at,
                "result": result,
            });
            if let Some(asset) = key.asset() {
                line["asset"] = json!(asset);
            }
            let written = self.files.history.line(&line);
            written.map_err(|source| self.cannot_write(source))?;
            let Previous { previous_topoheight } = parse("a version", &result)?;
            next = previous_topoheight.filter(|previous| *previous < at);
        }
        Ok(())
    }

    /// Whether the blocks are still where they were.
    async fn check_order(&mut self, from: TopoHeight) -> Result<(), RecordError> {
        let mut start = from.as_u64();
        for expected in std::mem::take(&mut self.hashes).chunks(ORDER_MAX) {
            let end = start + expected.len() as u64 - 1;
            let params = json!({"start_topoheight": start, "end_topoheight": end});
            let question = Question::with(ORDER, params);
            let mut tries = 0;
            // No hash binds this answer, so one that is another may have been damaged on the way.
            while let Some(place) = self.first_moved(&question, expected).await? {
                tries += 1;
                if tries == TRIES_MAX {
                    let at = TopoHeight::new(start + place as u64);
                    return Err(RecordError::Reordered { at });
                }
            }
            start = end + 1;
        }
        Ok(())
    }

    /// Which of some blocks is not where it was.
    async fn first_moved(
        &mut self,
        question: &Question,
        expected: &[BlockHash],
    ) -> Result<Option<usize>, RecordError> {
        let Said::Result(result) = self.asked.one(question).await? else { return Ok(Some(0)) };
        let found: Vec<BlockHash> = parse(ORDER, &result)?;
        Ok((0..expected.len()).find(|place| found.get(*place) != expected.get(*place)))
    }

    fn write(
        &mut self,
        file: impl FnOnce(&mut Files) -> &mut files::Lines,
        question: &Question,
        said: &Said,
    ) -> Result<(), RecordError> {
        let written =
            file(&mut self.files).exchange(question.method, question.params.as_ref(), said);
        written.map_err(|source| self.cannot_write(source))
    }

    fn cannot_write(&self, source: io::Error) -> RecordError {
        RecordError::Write { directory: self.directory.clone(), source }
    }
}

fn block_question(at: TopoHeight) -> Question {
    let params = json!({"topoheight": at, "include_txs": true});
    Question::with("get_block_at_topoheight", params)
}

fn transaction_questions(block: &Block) -> Vec<Question> {
    let mut questions = Vec::new();
    for transaction in &block.transactions {
        let hash = transaction.hash;
        let executed = json!({"tx_hash": hash, "block_hash": block.hash});
        questions.push(Question::with("get_transaction", json!({"hash": hash})));
        questions.push(Question::with("is_tx_executed_in_block", executed));
        questions.push(Question::with("get_transaction_executor", json!({"hash": hash})));
        let runs_contract = matches!(
            transaction.opaque_kind(),
            Some(OpaqueKind::InvokeContract | OpaqueKind::DeployContract)
        );
        if runs_contract {
            questions.push(Question::with(CONTRACT_OUTPUTS, json!({"transaction": hash})));
        }
    }
    questions
}

/// The keys that a contract's outputs say it paid into.
fn paid_by(outputs: &RawValue) -> Result<Vec<StateKey>, RecordError> {
    #[derive(Deserialize)]
    struct Output {
        transfer: Option<Transfer>,
    }
    #[derive(Deserialize)]
    struct Transfer {
        asset: AssetId,
        destination: String,
    }
    let outputs: Vec<Output> = parse(CONTRACT_OUTPUTS, outputs)?;
    let transfers = outputs.into_iter().filter_map(|output| output.transfer);
    let keys = transfers.filter_map(|transfer| {
        let NetworkAddress { account, .. } = transfer.destination.parse().ok()?;
        Some([StateKey::Balance(account, transfer.asset), StateKey::Nonce(account)])
    });
    Ok(keys.flatten().collect())
}

/// How many accounts are asked about to see whether any had something before the first block.
const FUNDED_ASKED: usize = 64;

fn exact_question(key: &StateKey, network: Network, at: TopoHeight) -> Question {
    let mut params = params_of(key, network);
    params["topoheight"] = json!(at);
    let method = match key {
        StateKey::Nonce(_) => "get_nonce_at_topoheight",
        StateKey::Balance(..) => "get_balance_at_topoheight",
        StateKey::Multisig(_) => "get_multisig_at_topoheight",
        StateKey::Registered(_) => REGISTRATION,
    };
    Question::with(method, params)
}

fn newest_question(key: &StateKey, network: Network) -> Question {
    let method = match key {
        StateKey::Nonce(_) => "get_nonce",
        StateKey::Balance(..) => "get_balance",
        StateKey::Multisig(_) => "get_multisig",
        StateKey::Registered(_) => REGISTRATION,
    };
    Question::with(method, params_of(key, network))
}

fn params_of(key: &StateKey, network: Network) -> Value {
    let address = NetworkAddress { account: *key.account(), network };
    let mut params = json!({"address": address.to_string()});
    if let Some(asset) = key.asset() {
        params["asset"] = json!(asset);
    }
    params
}

const fn kind_of(key: &StateKey) -> &'static str {
    match key {
        StateKey::Nonce(_) => "nonce",
        StateKey::Balance(..) => "balance",
        StateKey::Multisig(_) => "multisig",
        StateKey::Registered(_) => "registration",
    }
}

#[derive(Deserialize)]
struct WrittenAt {
    topoheight: TopoHeight,
}

#[derive(Deserialize)]
struct Previous {
    #[serde(default)]
    previous_topoheight: Option<TopoHeight>,
}

fn parse<'a, T: Deserialize<'a>>(
    method: &'static str,
    raw: &'a RawValue,
) -> Result<T, RecordError> {
    serde_json::from_str(raw.get()).map_err(|source| RecordError::Answer { method, source })
}

/// A question that every node has an answer to has none.
fn missing(method: &'static str) -> RecordError {
    RecordError::Answer { method, source: serde_json::Error::custom("there is none") }
}

const CONTRACT_OUTPUTS: &str = "get_contract_outputs";
const REGISTRATION: &str = "get_account_registration_topoheight";
const ORDER: &str = "get_dag_order";

/// How many positions a node tells the order of at once.
const ORDER_MAX: usize = 64;

/// How often a block is asked for whose hashes do not hold.
const TRIES_MAX: u32 = 5;

const NODE_QUESTIONS: [&str; 11] = [
    "get_version",
    "get_info",
    "get_blue_score",
    "get_topoheight",
    "get_stable_blue_score",
    "get_stable_topoheight",
    "get_pruned_topoheight",
    "get_difficulty",
    "get_tips",
    "get_dev_fee_thresholds",
    "get_hard_forks",
];
